// What the four lanes of a quad, which share a row of a matrix instruction's results, do together.
#pragma once

// Lane t of every four gets word t of each of them, in their order: a transposition, and its own
// inverse. All lanes of a warp take part.
PORT_DEVICE void exchange_in_fours(u32 (&word)[4]) {
    const bool is_odd = thread_index() % 2 != 0;
    PORT_UNROLL
    for (int i = 0; i < 4; i += 2) {
        const u32 received = shuffle_xor_bits(is_odd ? word[i] : word[i + 1], 1);
        word[i] = is_odd ? received : word[i];
        word[i + 1] = is_odd ? word[i + 1] : received;
    }
    const bool is_high = thread_index() % 4 >= 2;
    PORT_UNROLL
    for (int i = 0; i < 2; ++i) {
        const u32 received = shuffle_xor_bits(is_high ? word[i] : word[i + 2], 2);
        word[i] = is_high ? received : word[i];
        word[i + 2] = is_high ? word[i + 2] : received;
    }
}
