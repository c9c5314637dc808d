//! The allocator and, in [`entry`], the entry point: the only unsafe code of the binary.
//!
//! A command allocates a thousand small things, lives some milliseconds, and ends. The first of them lie one
//! after the other in a region of fixed size; what they have taken is given back with the process, so that
//! there is no list of free blocks to look after. What the region has no room for, because a command lives
//! longer or works on more, is the general allocator's, which also takes what is large.

#[cfg(not(test))]
mod entry;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

/// More than the commands that make a container allocate. Pages that are not touched cost nothing.
const SIZE: usize = 512 * 1024;

/// musl's own gives memory back to the kernel, and asks for it again, at every turn: 90 calls in one `run`.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: Arena<dlmalloc::GlobalDlmalloc, SIZE> = Arena::new(dlmalloc::GlobalDlmalloc);

#[cfg(not(target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: Arena<std::alloc::System, SIZE> = Arena::new(std::alloc::System);

/// malloc(3)'s: crates count on it where they ask for bytes (nix's control messages).
const ALIGNMENT: usize = 16;
/// What is larger comes and goes: buffers, and vectors that grow. The general allocator uses it again.
const LARGEST: usize = 1024;

/// A region of so many bytes, and what there is beyond it.
#[derive(Debug)]
struct Arena<A, const SIZE: usize> {
    region: Region<SIZE>,
    /// How much of the region is taken.
    taken: AtomicUsize,
    beyond: A,
}

#[repr(C, align(4096))]
#[derive(Debug)]
struct Region<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: the region is never read or written here but through pointers that `alloc` has given to one caller
// each.
unsafe impl<const SIZE: usize> Sync for Region<SIZE> {}

impl<A, const SIZE: usize> Arena<A, SIZE> {
    /// An empty region.
    const fn new(beyond: A) -> Self {
        Self { region: Region(UnsafeCell::new([0; SIZE])), taken: AtomicUsize::new(0), beyond }
    }

    fn start(&self) -> *mut u8 {
        self.region.0.get().cast()
    }

    /// Where in the region a block is; `None` if it is not in it.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        (block as usize).checked_sub(self.start() as usize).filter(|offset| *offset < SIZE)
    }

    /// Takes a block, if there is room.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        // The region's own alignment is that of a page.
        if layout.size() > LARGEST || layout.align() > 4096 {
            return None;
        }
        let mut taken = self.taken.load(Relaxed);
        loop {
            let offset = taken.next_multiple_of(layout.align().max(ALIGNMENT));
            let end = offset.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
            match self.taken.compare_exchange_weak(taken, end, AcqRel, Relaxed) {
                // SAFETY: `offset` is at most SIZE, so the pointer stays in the region or at its end.
                Ok(_) => return Some(unsafe { self.start().add(offset) }),
                Err(now) => taken = now,
            }
        }
    }

    /// Moves the end of the block that was taken last. Fails if it was another, or if there is no room.
    fn move_end(&self, offset: usize, old: usize, new: usize) -> bool {
        let Some(end) = offset.checked_add(new).filter(|end| *end <= SIZE) else { return false };
        self.taken.compare_exchange(offset + old, end, AcqRel, Relaxed).is_ok()
    }
}

// SAFETY: every block in the region is its caller's alone: `take` moves `taken` over it in one atomic step,
// and it is taken back only by the caller who gives it back, while it is the last, and who takes it next sees
// all that was written to it before (AcqRel). It has the size and alignment that were asked for. Other blocks
// are those of `beyond`, which gets them back; `offset` tells the two apart, as the region is nobody else's
// memory.
unsafe impl<A: GlobalAlloc, const SIZE: usize> GlobalAlloc for Arena<A, SIZE> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout is passed on.
        self.take(layout).unwrap_or_else(|| unsafe { self.beyond.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(block) = self.take(layout) else {
            // SAFETY: the caller's promise about the layout is passed on.
            return unsafe { self.beyond.alloc_zeroed(layout) };
        };
        // SAFETY: the block is new and has this size.
        unsafe { block.write_bytes(0, layout.size()) };
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            // The last one makes room for the next, any other is given back when the process ends.
            Some(offset) => {
                self.move_end(offset, layout.size(), 0);
            }
            // SAFETY: the block is from `beyond`, with this layout.
            None => unsafe { self.beyond.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else {
            // SAFETY: the block is from `beyond`, with this layout; the caller's promise about the size is
            // passed on.
            return unsafe { self.beyond.realloc(block, layout, new_size) };
        };
        if self.move_end(offset, layout.size(), new_size) || new_size <= layout.size() {
            return block;
        }
        // The caller promises that the size, rounded up to the alignment, does not overflow.
        let Ok(wanted) = Layout::from_size_align(new_size, layout.align()) else {
            return std::ptr::null_mut();
        };
        // SAFETY: the layout has a size, as the caller promises.
        let new = unsafe { self.alloc(wanted) };
        if !new.is_null() {
            // SAFETY: both are valid for the old size, which is the smaller one, and apart from each other.
            unsafe { std::ptr::copy_nonoverlapping(block, new, layout.size()) };
        }
        new
    }
}

#[cfg(test)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "the same is true of all: a test of an allocator")]
mod tests {
    use std::alloc::System;

    use proptest::prelude::*;

    use super::*;

    const SIZE: usize = 64 * 1024;

    fn in_region(arena: &Arena<System, SIZE>, block: *mut u8) -> bool {
        arena.offset(block).is_some()
    }

    #[test]
    fn blocks_lie_one_after_the_other_and_the_last_makes_room() {
        let arena = Box::new(Arena::<_, SIZE>::new(System));
        let layout = Layout::from_size_align(24, 8).expect("a layout");
        // SAFETY: the layout has a size, and blocks are given back once with their own layouts.
        unsafe {
            let (first, second) = (arena.alloc(layout), arena.alloc(layout));
            assert_eq!(second as usize - first as usize, 32, "aligned as by malloc(3)");
            let grown = arena.realloc(second, layout, 100);
            assert_eq!(grown, second, "the last block grows where it is");
            let moved = arena.realloc(first, layout, 100);
            assert_eq!(moved as usize - second as usize, 112, "another one moves behind it");
            arena.dealloc(moved, Layout::from_size_align(100, 8).expect("a layout"));
            assert_eq!(arena.alloc(layout), moved);
        }
    }

    #[test]
    fn what_is_large_and_what_has_no_room_is_the_general_allocators() {
        let arena = Box::new(Arena::<_, SIZE>::new(System));
        let (large, small) = (Layout::from_size_align(LARGEST + 1, 1), Layout::from_size_align(LARGEST, 1));
        let (large, small) = (large.expect("a layout"), small.expect("a layout"));
        // SAFETY: the layouts have a size, and blocks are given back once with their own layouts.
        unsafe {
            let block = arena.alloc(large);
            assert!(!in_region(&arena, block));
            let block = arena.realloc(block, large, 100_000);
            arena.dealloc(block, Layout::from_size_align(100_000, 1).expect("a layout"));
            for _ in 0..SIZE / LARGEST {
                assert!(in_region(&arena, arena.alloc(small)));
            }
            let beyond = arena.alloc(small);
            assert!(!in_region(&arena, beyond));
            arena.dealloc(beyond, small);
        }
    }

    proptest! {
        #[test]
        fn no_two_blocks_share_a_byte(asked in prop::collection::vec((1usize..3000, 0u32..8, any::<bool>(), 1usize..5000), 1..200)) {
            let arena = Box::new(Arena::<_, SIZE>::new(System));
            let mut blocks: Vec<(*mut u8, Layout, u8)> = Vec::new();
            for (number, (size, align, back, new_size)) in asked.into_iter().enumerate() {
                let layout = Layout::from_size_align(size, 1 << align).expect("a layout");
                let mark = u8::try_from(number % 251).expect("a byte");
                // SAFETY: sizes are not 0; each block is written and read within its size, and given back
                // once with its layout.
                unsafe {
                    let block = arena.alloc(layout);
                    prop_assert_eq!(block as usize % layout.align().max(ALIGNMENT), 0);
                    block.write_bytes(mark, size);
                    if back && let Some((block, layout, mark)) = blocks.pop() {
                        let kept = layout.size().min(new_size);
                        let block = arena.realloc(block, layout, new_size);
                        let bytes = std::slice::from_raw_parts(block, kept);
                        prop_assert!(bytes.iter().all(|byte| *byte == mark));
                        arena.dealloc(block, Layout::from_size_align(new_size, layout.align()).expect("a layout"));
                    }
                    blocks.push((block, layout, mark));
                }
            }
            for (block, layout, mark) in blocks {
                // SAFETY: as above.
                unsafe {
                    let bytes = std::slice::from_raw_parts(block, layout.size());
                    prop_assert!(bytes.iter().all(|byte| *byte == mark));
                    arena.dealloc(block, layout);
                }
            }
        }
    }
}
