//! Memory with an inaccessible page right behind it (and one before it), so that a kernel that
//! reads or writes outside its slice dies at once.
#![allow(unsafe_code)]

/// Types for which every bit pattern is a value.
///
/// # Safety
/// Implementers have no padding and no invalid bit patterns.
pub unsafe trait Plain: Copy {}
// SAFETY: primitive numbers.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}

/// A slice that ends `gap` bytes before an inaccessible page. Where the system is not Linux it is
/// an ordinary allocation of the exact length.
pub struct Guarded<T: Plain> {
    /// Invariant: `start ..+ len` is mapped readable and writable, aligned for `T`, and owned.
    start: *mut T,
    len: usize,
    #[cfg(target_os = "linux")]
    map: linux::Map,
    #[cfg(not(target_os = "linux"))]
    _memory: Vec<u64>,
}

impl<T: Plain> Guarded<T> {
    /// A copy of `x`, its end directly before the inaccessible page.
    pub fn new(x: &[T]) -> Self {
        Self::with_gap(x, 0)
    }

    /// A copy of `x`, its end `gap` bytes before the inaccessible page: gaps of 0..64 give every
    /// alignment. Panics if `gap` is no multiple of `T`'s alignment.
    #[cfg(target_os = "linux")]
    pub fn with_gap(x: &[T], gap: usize) -> Self {
        assert_eq!(gap % align_of::<T>(), 0);
        let map = linux::Map::new(size_of_val(x) + gap);
        // SAFETY: the map has at least that many bytes before its end, which is page-aligned.
        let start = unsafe { map.end().sub(gap + size_of_val(x)) }.cast::<T>();
        let mut guarded = Guarded { start, len: x.len(), map };
        guarded.as_mut_slice().copy_from_slice(x);
        guarded
    }

    /// As above, without the page.
    #[cfg(not(target_os = "linux"))]
    pub fn with_gap(x: &[T], gap: usize) -> Self {
        assert_eq!(gap % align_of::<T>(), 0);
        let offset = (64 - gap % 64) % 64;
        let mut memory = vec![0u64; (size_of_val(x) + offset).div_ceil(8) + 1];
        // SAFETY: inside the vector, whose memory does not move with it.
        let start = unsafe { memory.as_mut_ptr().cast::<u8>().add(offset) }.cast::<T>();
        let mut guarded = Guarded { start, len: x.len(), _memory: memory };
        guarded.as_mut_slice().copy_from_slice(x);
        guarded
    }

    /// The values.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the invariant of `start`.
        unsafe { core::slice::from_raw_parts(self.start, self.len) }
    }

    /// The values, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the invariant of `start`; `&mut self` makes it exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// Whether a page behind the slice faults on this system.
    pub fn is_guarded(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.map.is_guarded();
        #[cfg(not(target_os = "linux"))]
        false
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use core::ffi::{c_int, c_void};

    /// A multiple of every page size that Linux uses on the CPUs we test.
    const PAGE: usize = 65536;
    const NONE: c_int = 0;
    const READ_WRITE: c_int = 3;
    const PRIVATE_ANONYMOUS: c_int = 0x22;

    // `off_t` is as wide as a pointer with the default file offsets of the systems we test.
    unsafe extern "C" {
        fn mmap(
            at: *mut c_void,
            n: usize,
            prot: c_int,
            flags: c_int,
            fd: c_int,
            o: isize,
        ) -> *mut c_void;
        fn mprotect(at: *mut c_void, n: usize, prot: c_int) -> c_int;
        fn munmap(at: *mut c_void, n: usize) -> c_int;
    }

    /// An inaccessible page, `usable` bytes, an inaccessible page.
    pub struct Map {
        start: *mut u8,
        usable: usize,
    }

    impl Map {
        pub fn new(bytes: usize) -> Map {
            let usable = bytes.next_multiple_of(PAGE);
            let (n, nowhere) = (usable + 2 * PAGE, core::ptr::null_mut());
            // SAFETY: a new anonymous mapping touches no existing memory.
            let start = unsafe { mmap(nowhere, n, NONE, PRIVATE_ANONYMOUS, -1, 0) };
            assert_ne!(start as isize, -1, "mmap");
            let start = start.cast::<u8>();
            // SAFETY: inside the mapping.
            let result = unsafe { mprotect(start.add(PAGE).cast(), usable, READ_WRITE) };
            assert!(usable == 0 || result == 0, "mprotect");
            Map { start, usable }
        }

        /// Where the second inaccessible page begins.
        pub fn end(&self) -> *mut u8 {
            // SAFETY: inside the mapping.
            unsafe { self.start.add(PAGE + self.usable) }
        }

        /// Asks the system instead of dying: a page that may be read cannot be found "not mapped".
        pub fn is_guarded(&self) -> bool {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
            maps.lines().any(|line| {
                let mut words = line.split_whitespace();
                let (range, mode) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
                let mut ends = range.split('-').map(|e| usize::from_str_radix(e, 16).unwrap_or(0));
                let (from, to) = (ends.next().unwrap_or(0), ends.next().unwrap_or(0));
                let end = self.end() as usize;
                from <= end && end < to && mode.starts_with("---")
            })
        }
    }

    impl Drop for Map {
        fn drop(&mut self) {
            // SAFETY: the whole mapping, made in `new`, which nobody borrows any more.
            unsafe { munmap(self.start.cast(), self.usable + 2 * PAGE) };
        }
    }
}
