//! malloc(3) and its kin, for libseccomp in the musl build: its thousands of small blocks are spread over as many places by musl's own, and it
//! goes through them again for each rule.
//!
//! free(3) is not told what a block was asked for as, so that stands before it. All functions that give blocks which free(3) takes are here:
//! musl's static ones must not be mixed with these.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use nix::errno::Errno;

use super::ALLOCATOR;

/// What comes before a block: the layout of all of it, and how far behind its beginning the block is.
type Header = [usize; 2];
const BEFORE: usize = size_of::<Header>();

fn refuse(why: Errno) -> *mut c_void {
    why.set();
    null_mut()
}

fn header(block: *mut c_void) -> *mut Header {
    block.cast::<Header>().wrapping_sub(1)
}

fn allocate(size: usize, align: usize) -> *mut c_void {
    let offset = align.max(BEFORE);
    let whole = size.checked_add(offset).and_then(|whole| Layout::from_size_align(whole, offset).ok());
    let Some(whole) = whole else { return refuse(Errno::ENOMEM) };
    // SAFETY: the layout has a size, that of the header at least.
    let start = unsafe { ALLOCATOR.alloc(whole) };
    if start.is_null() {
        return refuse(Errno::ENOMEM);
    }
    let block = start.wrapping_add(offset).cast();
    // SAFETY: the block begins `offset` bytes behind the start, which is aligned to that, and there is room for the header between.
    unsafe { header(block).write([whole.size(), offset]) };
    block
}

/// # Safety
/// As malloc(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[inline(never)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    allocate(size, 1)
}

/// # Safety
/// As calloc(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[inline(never)]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(size) else { return refuse(Errno::ENOMEM) };
    let block = allocate(bytes, 1);
    if !block.is_null() {
        // SAFETY: the block is new and has so many bytes.
        unsafe { block.cast::<u8>().write_bytes(0, bytes) };
    }
    block
}

/// # Safety
/// As realloc(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[inline(never)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    let new = allocate(size, 1);
    if !block.is_null() && !new.is_null() {
        // SAFETY: the caller's block is one of `allocate`'s, so its header is before it.
        let [whole, offset] = unsafe { header(block).read() };
        // SAFETY: the two are apart from each other, and valid for the smaller of their sizes.
        unsafe { std::ptr::copy_nonoverlapping(block.cast::<u8>(), new.cast(), size.min(whole - offset)) };
        // SAFETY: the caller gives it back.
        unsafe { free(block) };
    }
    new
}

/// # Safety
/// As free(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[inline(never)]
unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: the caller's block is one of `allocate`'s, with its header before it.
    let [whole, offset] = unsafe { header(block).read() };
    // It was a layout when the block was made.
    let Ok(layout) = Layout::from_size_align(whole, offset) else { return };
    // SAFETY: the block begins so far behind its start, and has been made with this layout.
    unsafe { ALLOCATOR.dealloc(block.cast::<u8>().wrapping_sub(offset), layout) };
}

/// # Safety
/// As aligned_alloc(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[inline(never)]
unsafe extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if align.is_power_of_two() { allocate(size, align) } else { refuse(Errno::EINVAL) }
}

/// # Safety
/// As posix_memalign(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[inline(never)]
unsafe extern "C" fn posix_memalign(to: *mut *mut c_void, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut c_void>()) {
        return Errno::EINVAL as c_int;
    }
    let block = allocate(size, align);
    if block.is_null() {
        return Errno::ENOMEM as c_int;
    }
    // SAFETY: the caller promises a place for the result.
    unsafe { to.write(block) };
    0
}
/// # Safety
/// As malloc_usable_size(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
#[inline(never)]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: the caller's block is one of `allocate`'s, with its header before it.
    let [whole, offset] = unsafe { header(block).read() };
    whole - offset
}

#[cfg(test)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "the same is true of all: a test of an allocator")]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_what_is_in_them() {
        // SAFETY: blocks are written and read within their sizes, and given back once.
        unsafe {
            let block = calloc(10, 10).cast::<u8>();
            assert_eq!(block as usize % 16, 0);
            assert!(std::slice::from_raw_parts(block, 100).iter().all(|byte| *byte == 0));
            block.write_bytes(7, 100);
            let block = realloc(block.cast(), 5000).cast::<u8>();
            assert!(std::slice::from_raw_parts(block, 100).iter().all(|byte| *byte == 7));
            let block = realloc(block.cast(), 50).cast::<u8>();
            assert!(std::slice::from_raw_parts(block, 50).iter().all(|byte| *byte == 7));
            free(block.cast());
            free(null_mut());
            let block = malloc(40);
            assert_eq!((malloc_usable_size(block), malloc_usable_size(null_mut())), (40, 0));
            free(block);
            assert!(!malloc(0).is_null());
            assert!(calloc(usize::MAX, 2).is_null() && malloc(usize::MAX).is_null());
        }
    }

    #[test]
    fn blocks_are_aligned_as_asked() {
        for align in [8, 16, 64, 4096, 65536] {
            let mut to = null_mut();
            // SAFETY: `to` is a place for the result; blocks are given back once.
            unsafe {
                let block = aligned_alloc(align, 100);
                assert_eq!(block as usize % align, 0);
                free(block);
                assert_eq!(posix_memalign(&raw mut to, align, 100), 0);
                assert_eq!(to as usize % align, 0);
                free(realloc(to, 200));
            }
        }
        // SAFETY: nothing is given.
        assert!(unsafe { aligned_alloc(3, 100) }.is_null());
        assert_eq!(Errno::last(), Errno::EINVAL);
    }
}
