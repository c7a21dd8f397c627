//! Prefetching of memory.
//!
//! When a worker with thousands of members turns to the next one, hardly any of that member's memory is in
//! the caches. Without prefetching, the worker would spend most of its time waiting for one cache line after
//! another. The next member is known in advance, so the processor fetches its memory while it works on
//! something else.

use std::collections::VecDeque;

/// Has the processor fetch all of `value` into its caches. Affects only timing, and does nothing on platforms
/// without an implementation (x86-64 and AArch64 have one).
pub fn prefetch<T>(value: &T) {
    fetch(value, size_of::<T>());
}

/// Prefetches the slot of `queue` that the next value will be pushed to.
pub fn prefetch_end<T>(queue: &VecDeque<T>) {
    let (front, wrapped) = queue.as_slices();
    let last = if wrapped.is_empty() { front } else { wrapped };
    // When the queue wraps here, this is past the end of the buffer, and that one push gains nothing.
    fetch(last.as_ptr_range().end, size_of::<T>());
}

const LINE_BYTES: usize = 64;

fn fetch<T>(from: *const T, bytes: usize) {
    for line in (0..bytes).step_by(LINE_BYTES) {
        fetch_line(from.wrapping_byte_add(line).cast());
    }
}

#[allow(unsafe_code)]
fn fetch_line(at: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that reads nothing visible to the program and never faults, whatever the address; SSE is
    // part of every x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, as above; the instruction changes no register and no flag.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_wherever_it_points() {
        let mut queue: VecDeque<[u64; 20]> = VecDeque::new();
        prefetch_end(&queue);
        for number in 0..40 {
            queue.push_back([number; 20]);
            if number % 3 == 0 {
                queue.pop_front();
            }
            prefetch_end(&queue);
            queue.iter().for_each(prefetch);
        }
        assert!(queue.iter().map(|it| it[19]).eq(14..40));
        fetch(std::ptr::null::<u64>(), 4_096);
    }
}
