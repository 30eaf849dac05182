// What the backward pass subtracts from the gradients of the weights: the sum of d_out times out over
// each row. For CUDA and HIP; 32 threads a row, which are half a wave of AMD's.
#include "port.h"

#include "flash_call.h"

namespace {

template <class T>
PORT_DEVICE float element(const Chunk& chunk, int i) {
    return to_float(T{static_cast<u16>(chunk.word[i / 2] >> (i % 2 * 16))});
}

template <class T, int WARPS>
PORT_DEVICE void flash_delta(const FlashArguments& g) {
    const int n_groups = n_parts(g.query_len, WARPS);
    const Place place(static_cast<int>(block_index()), n_groups, g.n_heads);
    const int query = place.tile * WARPS + warp_index();
    float sum = 0.0f;
    if (query < g.query_len) {
        const T* out = rows_of<const T>(g.out, place.batch, place.head) + query * g.out.row_stride;
        const T* d_out =
            rows_of<const T>(g.d_out, place.batch, place.head) + query * g.d_out.row_stride;
        for (int column = lane_index() * 8; column < g.head_dim; column += 32 * 8) {
            const Chunk a = *reinterpret_cast<const Chunk*>(out + column);
            const Chunk b = *reinterpret_cast<const Chunk*>(d_out + column);
            PORT_UNROLL
            for (int e = 0; e < 8; ++e) {
                sum += element<T>(a, e) * element<T>(b, e);
            }
        }
    }
    for (int step = 16; step > 0; step /= 2) {
        sum += shuffle_xor(sum, step);
    }
    if (lane_index() == 0 && query < g.query_len) {
        const i64 head = static_cast<i64>(place.batch) * g.n_heads + place.head;
        g.delta[head * g.query_len + query] = sum;
    }
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, ENTRY_BLOCKS) ENTRY_NAME(const FlashArguments g) { ENTRY_BODY(g); }
