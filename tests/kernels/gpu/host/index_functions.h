// Index arithmetic of kernels/gemm/tiles.h with C names, for tests to go through.
#pragma once

extern "C" {
int place_along_k_of(int row, int chunk) { return place_along_k(row, chunk); }
int place_across_k_of(int depth, int chunk, int row_bytes, int element_bytes) {
    return place_across_k(depth, chunk, row_bytes, element_bytes);
}
int valid_bytes_of(int first, int extent, int bytes) { return valid_bytes(first, extent, bytes); }
void tile_of_index(int index, int n_rows, int n_columns, int group, int* to) {
    const TileIndex tile = tile_of(index, n_rows, n_columns, group);
    to[0] = tile.row;
    to[1] = tile.column;
}
int place_of_four_of(int line, int four) { return place_of_four(line, four); }
u32 swizzle_128_of(u32 address) { return swizzle_128(address); }
int accumulator_row_of(int lane, int i) { return accumulator_row(lane, i); }
int accumulator_column_of(int lane, int i) { return accumulator_column(lane, i); }
int wgmma_row_of(int thread, int i) { return wgmma_row(thread, i); }
int wgmma_column_of(int thread, int i) { return wgmma_column(thread, i); }
int mfma_row_of(int lane, int i) { return mfma_row(lane, i); }
int mfma_column_of(int lane, int) { return mfma_column(lane); }
u16 fp16_bits_of(float value) { return fp16_bits(value); }
float fp16_value_of(u16 bits) { return fp16_value(bits); }
u16 bf16_bits_of(float value) { return bf16_bits(value); }
}
