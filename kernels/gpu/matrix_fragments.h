// Where operands and results of matrix instructions lie, after the vendors' tables: plain functions
// that a host compiler takes too.
#pragma once

// 128-byte swizzle of bulk tensor copies and wgmma: bits 4 to 6 of an address, turned by 7 to 9.
PORT_DEVICE constexpr u32 swizzle_128(u32 address) { return address ^ ((address >> 3) & 0x70u); }

// PTX, mma.m16n8k16 and m16n8k8, accumulators: register i of a lane.
PORT_DEVICE constexpr int accumulator_row(int lane, int i) { return lane / 4 + 8 * (i / 2); }
PORT_DEVICE constexpr int accumulator_column(int lane, int i) { return lane % 4 * 2 + i % 2; }

// PTX, wgmma.m64nNk16, accumulators: register i of a thread among the 128 of its warp group.
PORT_DEVICE constexpr int wgmma_row(int thread, int i) {
    return thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2);
}
PORT_DEVICE constexpr int wgmma_column(int thread, int i) {
    return i / 4 * 8 + thread % 4 * 2 + i % 2;
}

// Matrix descriptor of wgmma for operands under the 128-byte swizzle, which eight rows of 128 bytes
// repeat. Along k such rows are lines, and the next eight lines follow. Across k they are depths
// of 64 lines, and the next 64 lines are `box_bytes` on; along k nothing reads that.
// PTX, "Matrix descriptor format": address, leading and stride offset in units of 16 bytes.
PORT_DEVICE constexpr u64 wgmma_descriptor(u32 address, u32 box_bytes) {
    return static_cast<u64>((address & 0x3ffffu) >> 4) | static_cast<u64>(box_bytes >> 4) << 16 |
           static_cast<u64>(1024 >> 4) << 32 | static_cast<u64>(1) << 62;
}
// From 16 depths to the next 16: on along the row, or 16 rows down.
PORT_DEVICE constexpr u32 wgmma_part_bytes(bool is_along_k) { return is_along_k ? 32 : 16 * 128; }

// CDNA, v_mfma_f32_32x32x8, accumulators: register i of a lane.
PORT_DEVICE constexpr int mfma_row(int lane, int i) { return i / 4 * 8 + lane / 32 * 4 + i % 4; }
PORT_DEVICE constexpr int mfma_column(int lane) { return lane % 32; }
