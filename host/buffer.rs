//! Bytes that may be many and are needed for a moment only, such as bodies of requests.
//!
//! Owns: where they are: a small buffer in a vector, a large one in memory of its own that the system gives only as it is
//! written, and has back at once. Allocators keep large pieces for later, and in pieces that fit nothing: several times what
//! is in use. Does not own: how much there may be (`receive/memory`).

use std::ops::{Deref, DerefMut};

use memmap2::{MmapMut, MmapOptions};

/// A larger buffer has memory of its own.
const SMALL_BYTES: usize = 256 << 10;

/// Bytes that can be added to.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    /// How many there will be, as far as it is known.
    expected: usize,
}

#[derive(Debug)]
enum Memory {
    Small(Vec<u8>),
    Large { map: MmapMut, filled: usize },
}

impl Default for Buffer {
    fn default() -> Self {
        Self::expecting(0)
    }
}

impl Buffer {
    /// An empty one, for about so many bytes.
    pub fn expecting(bytes: usize) -> Self {
        Self { memory: Memory::Small(Vec::new()), expected: bytes }
    }

    /// Adds bytes.
    pub fn extend(&mut self, more: &[u8]) {
        let bytes = self.len() + more.len();
        match &mut self.memory {
            Memory::Large { map, filled } if bytes <= map.len() => {
                map[*filled..bytes].copy_from_slice(more);
                *filled = bytes;
            }
            Memory::Small(vec) if bytes <= SMALL_BYTES.max(vec.capacity()) => vec.extend_from_slice(more),
            _ => self.move_and_extend(more),
        }
    }

    fn move_and_extend(&mut self, more: &[u8]) {
        let bytes = self.len() + more.len();
        let room = self.expected.max(bytes).max(2 * self.len());
        self.memory = match MmapOptions::new().len(room).no_reserve_swap().map_anon() {
            Ok(mut map) => {
                map[..self.len()].copy_from_slice(self);
                map[self.len()..bytes].copy_from_slice(more);
                Memory::Large { map, filled: bytes }
            }
            // A system that counts what is only asked for (vm.overcommit_memory = 2).
            Err(_) => Memory::Small([self, more].concat()),
        };
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Small(vec) => vec,
            Memory::Large { map, filled } => &map[..*filled],
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Small(vec) => vec,
            Memory::Large { map, filled } => &mut map[..*filled],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_in_their_order() {
        for (expected, part) in [(0, 1000), (SMALL_BYTES + 1, 100_000), (10 * SMALL_BYTES, 7 * SMALL_BYTES), (5, 0)] {
            let (mut buffer, mut vec) = (Buffer::expecting(expected), Vec::new());
            for number in 0..20_u8 {
                buffer.extend(&vec![number; part]);
                vec.extend(vec![number; part]);
                assert!(*buffer == *vec, "{expected} {part} {number}");
            }
            if let Some(last) = buffer.last_mut() {
                *last = 77;
            }
            assert!(part == 0 || buffer.last() == Some(&77));
        }
    }
}
