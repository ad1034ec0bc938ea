//! Page-aligned memory for device I/O, without `unsafe`: a vector of an aligned type.

use std::fmt;
use std::ops::{Index, IndexMut};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Size and alignment of a [`Page`]; enough for direct I/O on every device we know.
pub const PAGE_BYTES: usize = 4096;

/// 4 KiB, aligned to 4 KiB.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
pub struct Page(pub [u8; PAGE_BYTES]);

impl Page {
    /// All zeroes.
    pub const ZERO: Self = Self([0; PAGE_BYTES]);
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page(..)")
    }
}

/// Consecutive pages on the heap. Their address never changes while they live, so a device may be told of it.
///
/// `fixed` is the number under which the buffer is registered with the kernel, if it is; the owner of the ring
/// sets it, nothing in core looks at it.
#[derive(Debug, Default)]
pub struct Pages {
    pages: Vec<Page>,
    fixed: Option<u16>,
}

impl Pages {
    /// `count` zeroed pages.
    #[must_use]
    pub fn zeroed(count: usize) -> Self {
        // Zeroed by the allocator, so that large buffers cost no memory until they are touched.
        let pages = Page::new_vec_zeroed(count).expect("the limits on buffers keep their size far below isize::MAX");
        Self { pages, fixed: None }
    }

    /// Number of pages.
    #[must_use]
    pub fn count(&self) -> usize {
        self.pages.len()
    }

    /// The registration number, see the type.
    #[must_use]
    pub fn fixed(&self) -> Option<u16> {
        self.fixed
    }

    /// Notes that the kernel knows this buffer as `fixed`.
    pub fn set_fixed(&mut self, fixed: u16) {
        self.fixed = Some(fixed);
    }

    /// The pages as bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.pages.as_slice().as_bytes()
    }

    /// The pages as bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.pages.as_mut_slice().as_mut_bytes()
    }

    /// The pages, to change.
    pub fn pages_mut(&mut self) -> &mut [Page] {
        &mut self.pages
    }

    /// One page's bytes.
    #[must_use]
    pub fn page(&self, index: usize) -> &[u8; PAGE_BYTES] {
        &self.pages[index].0
    }

    /// One page's bytes, to change.
    pub fn page_mut(&mut self, index: usize) -> &mut [u8; PAGE_BYTES] {
        &mut self.pages[index].0
    }
}

impl Index<usize> for Pages {
    type Output = [u8; PAGE_BYTES];

    fn index(&self, index: usize) -> &Self::Output {
        self.page(index)
    }
}

impl IndexMut<usize> for Pages {
    fn index_mut(&mut self, index: usize) -> &mut Self::Output {
        self.page_mut(index)
    }
}
