//! Memory asked for before it is needed.
//!
//! A worker with thousands of members finds hardly anything of the next one in its caches, and would wait for
//! one line of memory after the other: most of its time, were it not for this. What comes next is known
//! beforehand, so the processor fetches it while it works on something else.

use std::collections::VecDeque;

/// Has the processor fetch all of `value` into its caches. Changes nothing but the time that its use takes, and
/// does nothing where this is not known (it is on x86-64 and AArch64).
pub fn prefetch<T>(value: &T) {
    fetch(value, size_of::<T>());
}

/// The same for the place of `queue` that the next value will be pushed to.
pub fn prefetch_end<T>(queue: &VecDeque<T>) {
    let (front, wrapped) = queue.as_slices();
    let last = if wrapped.is_empty() { front } else { wrapped };
    // Beyond the buffer's end when it wraps there: one push in many finds its place as it was.
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
    // SAFETY: a hint, which reads nothing that the program could see and never faults, whatever the address; SSE
    // is part of every x86-64.
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
