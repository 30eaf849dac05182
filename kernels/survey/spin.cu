// Keeps one thread busy for a number of clock cycles; with none it is the empty kernel.
extern "C" __global__ void spin(long long n_cycles) {
    const long long start = clock64();
    while (clock64() - start < n_cycles) {
    }
}
