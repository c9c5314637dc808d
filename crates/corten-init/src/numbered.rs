//! Words that are numbers on the wire: one macro makes the enum, its names and both ways.

/// Makes an enum whose variants are numbered by their position, from 1 on.
macro_rules! numbered {
    ($( #[$attribute:meta] )* $visibility:vis enum $name:ident { $( $( #[$doc:meta] )* $variant:ident $text:literal, )* }) => {
        $( #[$attribute] )*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $visibility enum $name { $( $( #[$doc] )* $variant, )* }

        #[allow(dead_code, reason = "not every word is wanted in every way")]
        impl $name {
            /// All of them, in the order of their numbers.
            $visibility const ALL: &[Self] = &[ $( Self::$variant, )* ];

            /// Returns the wire form.
            $visibility const fn to_number(self) -> u32 {
                self as u32 + 1
            }

            /// Reads the wire form.
            $visibility fn from_number(number: u32) -> Option<Self> {
                Self::ALL.get(number.checked_sub(1)? as usize).copied()
            }

            /// Returns the name used in plans, messages and documents.
            $visibility const fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use numbered;
