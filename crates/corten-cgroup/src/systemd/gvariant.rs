//! The text form of GVariant, in which annotations give the values of properties.
//!
//! Attacker: the author of an annotation. Nesting is bounded, numbers are checked, nothing is trusted to fit.
//! Source: docs.gtk.org/glib/gvariant-text-format.html, as far as D-Bus has the types (no `just`, `nothing`,
//! `handle`). runc reads it with godbus, of which this takes all that is meaningful, and tuples. (zbus prints
//! this form and cannot read it.)

use std::iter::Peekable;
use std::str::Chars;

use zbus::wire::StructureBuilder;
use zbus::{Array, Dict, ObjectPath, Signature, Variant};

/// How deep values may be nested. D-Bus allows 32 arrays in each other, and 32 structures.
const MAX_DEPTH: usize = 32;

/// Reads a value.
pub(super) fn parse(text: &str) -> Result<Variant<'static>, String> {
    let mut parser = Parser { rest: text.chars().peekable() };
    let node = parser.value(0)?;
    parser.skip_space();
    if let Some(more) = parser.rest.peek() {
        return Err(format!("unexpected {more:?} after the value"));
    }
    let signature = settle(shape(&node)?)?;
    build(node, &signature)
}

/// A value as it is written, before its types are known.
enum Node {
    Bool(bool),
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Node>),
    Tuple(Vec<Node>),
    Dict(Vec<(Node, Node)>),
    Variant(Box<Node>),
    Typed(Signature, Box<Node>),
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    /// Takes a character if it comes next, after space.
    fn take(&mut self, wanted: char) -> bool {
        self.skip_space();
        self.rest.next_if_eq(&wanted).is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(self.unexpected(&format!("{wanted:?}"))) }
    }

    fn unexpected(&mut self, wanted: &str) -> String {
        match self.rest.peek() {
            Some(found) => format!("{wanted} is missing before {found:?}"),
            None => format!("{wanted} is missing at the end"),
        }
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        std::iter::from_fn(|| self.rest.next_if(|c| belongs(*c))).collect()
    }

    fn value(&mut self, depth: usize) -> Result<Node, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        self.skip_space();
        let Some(first) = self.rest.peek().copied() else { return Err(self.unexpected("a value")) };
        match first {
            '[' => Ok(Node::Array(self.list('[', ']', depth)?)),
            '(' => Ok(Node::Tuple(self.list('(', ')', depth)?)),
            '{' => self.dict(depth),
            '<' => {
                self.expect('<')?;
                let inner = self.value(depth + 1)?;
                self.expect('>')?;
                Ok(Node::Variant(Box::new(inner)))
            }
            '\'' | '"' => {
                self.rest.next();
                Ok(Node::Text(self.text(first)?))
            }
            '@' => {
                self.rest.next();
                let signature = self.word(|c| !c.is_whitespace());
                let signature = Signature::try_from(signature.as_str())
                    .ok()
                    .filter(|parsed| *parsed != Signature::Unit && !signature.contains('h'))
                    .ok_or_else(|| format!("bad type {signature:?}"))?;
                self.typed(signature, depth)
            }
            '0'..='9' | '+' | '-' | '.' => {
                Ok(Node::Number(self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))))
            }
            _ => self.keyword(depth),
        }
    }

    /// Reads what starts with a letter: a truth value, bytes, or a type and a value of it.
    fn keyword(&mut self, depth: usize) -> Result<Node, String> {
        let word = self.word(|c| c.is_ascii_alphanumeric());
        let signature = match word.as_str() {
            "true" => return Ok(Node::Bool(true)),
            "false" => return Ok(Node::Bool(false)),
            "b" if matches!(self.rest.peek(), Some('\'' | '"')) => {
                let quote = self.rest.next().unwrap_or('\'');
                return Ok(Node::Bytes(self.bytes(quote)?));
            }
            "boolean" => Signature::Bool,
            "byte" => Signature::U8,
            "int16" => Signature::I16,
            "uint16" => Signature::U16,
            "int32" => Signature::I32,
            "uint32" => Signature::U32,
            "int64" => Signature::I64,
            "uint64" => Signature::U64,
            "double" => Signature::F64,
            "string" => Signature::Str,
            "objectpath" => Signature::ObjectPath,
            "signature" => Signature::Signature,
            "" => return Err(self.unexpected("a value")),
            _ => return Err(format!("unrecognized type {word:?}; a string needs quotes")),
        };
        self.typed(signature, depth)
    }

    fn typed(&mut self, signature: Signature, depth: usize) -> Result<Node, String> {
        match self.value(depth + 1)? {
            Node::Typed(..) => Err("unexpected type annotation".to_owned()),
            node => Ok(Node::Typed(signature, Box::new(node))),
        }
    }

    /// Reads values between brackets, with commas between them and perhaps one after the last, as in `(1,)`.
    fn list(&mut self, open: char, close: char, depth: usize) -> Result<Vec<Node>, String> {
        self.expect(open)?;
        let mut nodes = Vec::new();
        while !self.take(close) {
            nodes.push(self.value(depth + 1)?);
            if !self.take(',') {
                self.expect(close)?;
                break;
            }
        }
        Ok(nodes)
    }

    fn dict(&mut self, depth: usize) -> Result<Node, String> {
        self.expect('{')?;
        let mut entries = Vec::new();
        while !self.take('}') {
            let key = self.value(depth + 1)?;
            self.expect(':')?;
            entries.push((key, self.value(depth + 1)?));
            if !self.take(',') {
                self.expect('}')?;
                break;
            }
        }
        Ok(Node::Dict(entries))
    }

    /// Reads a string up to the quote that ends it.
    fn text(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        loop {
            let c = match self.rest.next().ok_or("unterminated string")? {
                c if c == quote => return Ok(text),
                '\\' => match self.rest.next().ok_or("unterminated string")? {
                    'u' => self.code_point(4)?,
                    'U' => self.code_point(8)?,
                    '\n' => continue,
                    escaped => control(escaped).unwrap_or(escaped),
                },
                c => c,
            };
            if c == '\0' {
                return Err("a string cannot have a zero byte".to_owned());
            }
            text.push(c);
        }
    }

    fn code_point(&mut self, digits: usize) -> Result<char, String> {
        let digits: String = self.rest.by_ref().take(digits).collect();
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| !digits.starts_with('+'));
        code.and_then(char::from_u32).ok_or_else(|| format!("bad escape {digits:?}"))
    }

    /// Reads a byte string up to the quote that ends it, and adds the zero byte that ends such strings.
    fn bytes(&mut self, quote: char) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        loop {
            match self.rest.next().ok_or("unterminated bytestring")? {
                c if c == quote => break,
                '\\' => {
                    let escaped = self.rest.next().ok_or("unterminated bytestring")?;
                    match escaped {
                        '0'..='7' => {
                            let mut octal = escaped.to_string();
                            while octal.len() < 3 && matches!(self.rest.peek(), Some('0'..='7')) {
                                octal.extend(self.rest.next());
                            }
                            bytes.push(
                                u8::from_str_radix(&octal, 8).map_err(|_| format!("bad escape {octal:?}"))?,
                            );
                        }
                        'x' => {
                            let hex: String = self.rest.by_ref().take(2).collect();
                            let byte = u8::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 2);
                            bytes.push(byte.ok_or_else(|| format!("bad escape {hex:?}"))?);
                        }
                        '\n' => {}
                        _ => push_char(&mut bytes, control(escaped).unwrap_or(escaped)),
                    }
                }
                c => push_char(&mut bytes, c),
            }
        }
        bytes.push(0);
        Ok(bytes)
    }
}

/// Returns the control character that a letter after a backslash stands for.
fn control(letter: char) -> Option<char> {
    Some(match letter {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// What is known of a value's type. `Exact` holds basic types and the variant only.
enum Shape {
    Any,
    Number,
    Text,
    Exact(Signature),
    Array(Box<Shape>),
    Dict(Box<Shape>, Box<Shape>),
    Tuple(Vec<Shape>),
}

impl From<&Signature> for Shape {
    fn from(signature: &Signature) -> Self {
        let boxed = |child: &Signature| Box::new(Self::from(child));
        match signature {
            Signature::Array(child) => Self::Array(boxed(child)),
            Signature::Dict { key, value } => Self::Dict(boxed(key), boxed(value)),
            Signature::Structure(fields) => Self::Tuple(fields.iter().map(Self::from).collect()),
            basic => Self::Exact(basic.clone()),
        }
    }
}

fn shape(node: &Node) -> Result<Shape, String> {
    Ok(match node {
        Node::Bool(_) => Shape::Exact(Signature::Bool),
        Node::Number(digits) if is_float(digits) => Shape::Exact(Signature::F64),
        Node::Number(_) => Shape::Number,
        Node::Text(_) => Shape::Text,
        Node::Bytes(_) => Shape::Array(Box::new(Shape::Exact(Signature::U8))),
        Node::Array(nodes) => Shape::Array(common(nodes.iter())?),
        Node::Tuple(nodes) => Shape::Tuple(nodes.iter().map(shape).collect::<Result<_, _>>()?),
        Node::Dict(entries) => {
            let keys = common(entries.iter().map(|(key, _)| key))?;
            Shape::Dict(keys, common(entries.iter().map(|(_, value)| value))?)
        }
        Node::Variant(inner) => {
            // Its type is its own affair, but it must have one.
            settle(shape(inner)?)?;
            Shape::Exact(Signature::Variant)
        }
        Node::Typed(signature, inner) => unite(Shape::from(signature), shape(inner)?)?,
    })
}

/// What is known of the type that all of several values have.
fn common<'a>(mut nodes: impl Iterator<Item = &'a Node>) -> Result<Box<Shape>, String> {
    nodes.try_fold(Shape::Any, |known, node| unite(known, shape(node)?)).map(Box::new)
}

/// Puts together what is known of a type from two places.
fn unite(a: Shape, b: Shape) -> Result<Shape, String> {
    use Shape::{Any, Array, Dict, Exact, Number, Text, Tuple};
    Ok(match (a, b) {
        (Any, known) | (known, Any) => known,
        (Number, Number) => Number,
        (Text, Text) => Text,
        (Number, Exact(exact)) | (Exact(exact), Number) if is_number(&exact) => Exact(exact),
        (Text, Exact(exact)) | (Exact(exact), Text) if is_text(&exact) => Exact(exact),
        (Exact(a), Exact(b)) if a == b => Exact(a),
        (Array(a), Array(b)) => Array(Box::new(unite(*a, *b)?)),
        (Dict(k, v), Dict(l, w)) => Dict(Box::new(unite(*k, *l)?), Box::new(unite(*v, *w)?)),
        (Tuple(a), Tuple(b)) if a.len() == b.len() => {
            Tuple(a.into_iter().zip(b).map(|(a, b)| unite(a, b)).collect::<Result<_, _>>()?)
        }
        _ => return Err("the types of the parts do not fit together".to_owned()),
    })
}

fn is_number(signature: &Signature) -> bool {
    use Signature::{F64, I16, I32, I64, U8, U16, U32, U64};
    matches!(signature, U8 | I16 | U16 | I32 | U32 | I64 | U64 | F64)
}

fn is_text(signature: &Signature) -> bool {
    matches!(signature, Signature::Str | Signature::ObjectPath | Signature::Signature)
}

/// Decides what is still open: numbers are int32, texts are strings.
fn settle(shape: Shape) -> Result<Signature, String> {
    Ok(match shape {
        Shape::Any => {
            return Err(
                "cannot tell the type of an empty array; write one before it, as in @as []".to_owned()
            );
        }
        Shape::Number => Signature::I32,
        Shape::Text => Signature::Str,
        Shape::Exact(signature) => signature,
        Shape::Array(child) => Signature::array(settle(*child)?),
        Shape::Dict(key, value) => {
            let key = settle(*key)?;
            if !(is_number(&key) || is_text(&key) || key == Signature::Bool) {
                return Err("the key of a dictionary must be of a basic type".to_owned());
            }
            Signature::dict(key, settle(*value)?)
        }
        Shape::Tuple(fields) if fields.is_empty() => return Err("D-Bus has no empty tuple".to_owned()),
        Shape::Tuple(fields) => {
            Signature::structure(fields.into_iter().map(settle).collect::<Result<Vec<_>, _>>()?)
        }
    })
}

/// Makes the value, whose type has been found to fit.
fn build(node: Node, signature: &Signature) -> Result<Variant<'static>, String> {
    let said = |error: zbus::Error| error.to_string();
    Ok(match (node, signature) {
        (Node::Typed(_, inner), _) => build(*inner, signature)?,
        (Node::Bool(value), _) => value.into(),
        (Node::Number(digits), _) => number(&digits, signature)?,
        (Node::Text(text), Signature::ObjectPath) => ObjectPath::try_from(text).map_err(said)?.into(),
        (Node::Text(text), Signature::Signature) => {
            Signature::try_from(text.as_str()).map_err(|_| format!("bad type {text:?}"))?.into()
        }
        (Node::Text(text), _) => text.into(),
        (Node::Bytes(bytes), _) => bytes.into(),
        (Node::Array(nodes), Signature::Array(child)) => {
            let mut array = Array::new(child);
            for node in nodes {
                array.append(build(node, child)?).map_err(said)?;
            }
            array.into()
        }
        (Node::Tuple(nodes), Signature::Structure(fields)) => {
            let builder = nodes
                .into_iter()
                .zip(fields.iter())
                .try_fold(StructureBuilder::new(), |builder, (node, field)| {
                    Ok::<_, String>(builder.append_field(build(node, field)?))
                })?;
            builder.build().map_err(said)?.into()
        }
        (Node::Dict(entries), Signature::Dict { key, value }) => {
            let mut dict = Dict::new(key, value);
            for (entry_key, entry_value) in entries {
                dict.append(build(entry_key, key)?, build(entry_value, value)?).map_err(said)?;
            }
            dict.into()
        }
        (Node::Variant(inner), _) => {
            let signature = settle(shape(&inner)?)?;
            Variant::Variant(Box::new(build(*inner, &signature)?))
        }
        _ => return Err("the types of the parts do not fit together".to_owned()),
    })
}

fn is_float(digits: &str) -> bool {
    !is_hexadecimal(digits) && digits.contains(['.', 'e', 'E'])
}

fn is_hexadecimal(digits: &str) -> bool {
    digits.trim_start_matches(['+', '-']).starts_with("0x")
}

/// Reads a number: decimal, octal after `0`, hexadecimal after `0x`.
fn number(digits: &str, signature: &Signature) -> Result<Variant<'static>, String> {
    let bad = || format!("bad number {digits:?}");
    if *signature == Signature::F64 && !is_hexadecimal(digits) {
        let known = digits.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
        return digits.parse::<f64>().ok().filter(|_| known).map(Variant::from).ok_or_else(bad);
    }
    let (sign, plain) = match digits.strip_prefix('-') {
        Some(plain) => (-1, plain),
        None => (1, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (radix, plain) = match (plain.strip_prefix("0x"), plain.strip_prefix('0')) {
        (Some(hexadecimal), _) => (16, hexadecimal),
        (None, Some(octal)) if !octal.is_empty() => (8, octal),
        _ => (10, plain),
    };
    // A second sign is none that from_str_radix should take.
    let unsigned = !plain.starts_with(['+', '-']);
    let value = sign * i128::from_str_radix(plain, radix).ok().filter(|_| unsigned).ok_or_else(bad)?;
    let fits = |variant: Option<Variant<'static>>| {
        variant.ok_or_else(|| format!("number {digits} does not fit into type {signature}"))
    };
    fits(match signature {
        Signature::U8 => u8::try_from(value).ok().map(Variant::from),
        Signature::I16 => i16::try_from(value).ok().map(Variant::from),
        Signature::U16 => u16::try_from(value).ok().map(Variant::from),
        Signature::I32 => i32::try_from(value).ok().map(Variant::from),
        Signature::U32 => u32::try_from(value).ok().map(Variant::from),
        Signature::I64 => i64::try_from(value).ok().map(Variant::from),
        Signature::U64 => u64::try_from(value).ok().map(Variant::from),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_has_its_type_and_value() {
        for (text, signature, printed) in [
            ("true", "b", "true"),
            (" false ", "b", "false"),
            ("5", "i", "5"),
            ("-5", "i", "-5"),
            ("+5", "i", "5"),
            ("0x10", "i", "16"),
            ("010", "i", "8"),
            ("0", "i", "0"),
            ("0x1e", "i", "30"),
            ("1.5", "d", "1.5"),
            ("1e3", "d", "1000."),
            ("double 2", "d", "2."),
            ("uint64 18446744073709551615", "t", "uint64 18446744073709551615"),
            ("@t 5", "t", "uint64 5"),
            ("byte 0xff", "y", "byte 0xff"),
            ("int16 -3", "n", "int16 -3"),
            ("uint16 3", "q", "uint16 3"),
            ("uint32 3", "u", "uint32 3"),
            ("int64 3", "x", "int64 3"),
            ("boolean true", "b", "true"),
            ("'it'", "s", "\"it\""),
            (r#""it's""#, "s", "\"it's\""),
            (r"'a\tb\'c\\dA\U0001F600\qe'", "s", "\"a\\tb'c\\\\dA\u{1f600}qe\""),
            ("objectpath '/a/b'", "o", "objectpath \"/a/b\""),
            ("signature 'a{sv}'", "g", "signature \"a{sv}\""),
            ("['a', 'b']", "as", "[\"a\", \"b\"]"),
            ("[1, 2,]", "ai", "[1, 2]"),
            ("[1, uint64 2]", "at", "[uint64 1, 2]"),
            ("[1, 2.5]", "ad", "[1., 2.5]"),
            ("[[], [byte 1]]", "aay", "[@ay [], [0x01]]"),
            ("@as []", "as", "@as []"),
            ("@at [1, 2]", "at", "[uint64 1, 2]"),
            (r"b'a\n\x41\101'", "ay", "b\"a\\nAA\""),
            ("(1, 'x')", "(is)", "(1, \"x\")"),
            ("(1,)", "(i)", "(1,)"),
            ("[('/dev/null', 'rw')]", "a(ss)", "[(\"/dev/null\", \"rw\")]"),
            ("@a(st) [('/dev/sda', 5)]", "a(st)", "[(\"/dev/sda\", uint64 5)]"),
            ("<5>", "v", "<5>"),
            ("[<1>, <'x'>]", "av", "[<1>, <\"x\">]"),
            ("{'a': uint32 1, 'b': 2}", "a{su}", "{\"a\": uint32 1, \"b\": 2}"),
            ("@a{sv} {}", "a{sv}", "@a{sv} {}"),
        ] {
            let value = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(value.value_signature().to_string(), signature, "{text}");
            assert_eq!(value.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for (text, said) in [
            ("", "a value is missing at the end"),
            ("infinity", "unrecognized type \"infinity\"; a string needs quotes"),
            ("yes", "unrecognized type \"yes\"; a string needs quotes"),
            ("5 6", "unexpected '6' after the value"),
            ("5x", "bad number \"5x\""),
            ("--5", "bad number \"--5\""),
            ("08", "bad number \"08\""),
            ("-", "bad number \"-\""),
            ("double -inf", "bad number \"-inf\""),
            ("3000000000", "number 3000000000 does not fit into type i"),
            ("byte 256", "number 256 does not fit into type y"),
            ("uint64 -1", "number -1 does not fit into type t"),
            ("'x", "unterminated string"),
            (r"'\", "unterminated string"),
            (r"'\u00'", "bad escape \"00'\""),
            (r"'\uD800'", "bad escape \"D800\""),
            (r"'\u0000'", "a string cannot have a zero byte"),
            ("b'x", "unterminated bytestring"),
            (r"b'\xg'", "bad escape \"g'\""),
            ("[1, 'x']", "the types of the parts do not fit together"),
            ("uint32 'x'", "the types of the parts do not fit together"),
            ("uint32 1.5", "the types of the parts do not fit together"),
            ("@as [1]", "the types of the parts do not fit together"),
            ("[]", "cannot tell the type of an empty array; write one before it, as in @as []"),
            ("<[]>", "cannot tell the type of an empty array; write one before it, as in @as []"),
            ("()", "D-Bus has no empty tuple"),
            ("[1, 2", "']' is missing at the end"),
            ("[1 2]", "']' is missing before '2'"),
            ("{'a' 1}", "':' is missing before '1'"),
            ("{[1]: 1}", "the key of a dictionary must be of a basic type"),
            ("<1", "'>' is missing at the end"),
            ("@z 1", "bad type \"z\""),
            ("@h 1", "bad type \"h\""),
            ("@ 1", "bad type \"\""),
            ("uint32 uint32 1", "unexpected type annotation"),
            ("!", "a value is missing before '!'"),
        ] {
            assert_eq!(parse(text).map(|value| value.to_string()), Err(said.to_owned()), "{text}");
        }
        assert!(parse("objectpath 'x'").is_err());
        assert!(parse("signature 'z'").is_err());
        assert_eq!(parse(&"[".repeat(100_000)).unwrap_err(), "nested deeper than 32");
        assert_eq!(parse(&"@v ".repeat(100_000)).unwrap_err(), "nested deeper than 32");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[\[\](){}<>@'":,\\ a-z0-9.+\-]{0,40}|\PC{0,20}"#) {
            if let Some(value) = parse(&text).ok().filter(|value| !value.to_string().contains("\\u{")) {
                // What is printed can be read again, and means the same; but for Rust's escapes, which are
                // zvariant's alone.
                prop_assert_eq!(parse(&value.to_string()), Ok(value));
            }
        }
    }
}
