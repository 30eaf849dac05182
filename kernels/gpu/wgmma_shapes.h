// One type of operand for port_sm90.h, which defines ELEMENT and NAME; included once for each.
// 64 x n x 16: the sums of a thread are registers, and inline assembly wants every one named.

#define REGISTERS_32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, " \
    "%8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, " \
    "%24, %25, %26, %27, %28, %29, %30, %31"
#define REGISTERS_64 REGISTERS_32 ", " \
    "%32, %33, %34, %35, %36, %37, %38, %39, " \
    "%40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, " \
    "%56, %57, %58, %59, %60, %61, %62, %63"
#define REGISTERS_96 REGISTERS_64 ", " \
    "%64, %65, %66, %67, %68, %69, %70, %71, " \
    "%72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, " \
    "%88, %89, %90, %91, %92, %93, %94, %95"
#define REGISTERS_128 REGISTERS_96 ", " \
    "%96, %97, %98, %99, %100, %101, %102, %103, " \
    "%104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, " \
    "%120, %121, %122, %123, %124, %125, %126, %127"

#define SUMS_8(i)                                                                    \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]),      \
        "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define SUMS_32(i) SUMS_8(i), SUMS_8(i + 8), SUMS_8(i + 16), SUMS_8(i + 24)
#define SUMS_64(i) SUMS_32(i), SUMS_32(i + 32)
#define SUMS_96(i) SUMS_64(i), SUMS_32(i + 64)
#define SUMS_128(i) SUMS_64(i), SUMS_64(i + 64)

// A product n columns wide has n / 2 sums a thread; r0 to r6 are the numbers of the operands behind
// them. `add` takes both operands from shared memory, `add_rows` the first from registers, laid out
// as for mma.m16n8k16. Sums that were there are kept unless `keep` is 0.
#define WGMMA_SHAPE(n, n_sums, r0, r1, r2, r3, r4, r5, r6)                                \
    template <>                                                                           \
    struct WarpGroupProduct<ELEMENT, n> {                                                 \
        template <bool A_ALONG_K, bool B_ALONG_K>                                         \
        PORT_DEVICE static void add(float (&d)[n_sums], u64 a, u64 b, u32 keep) {         \
            asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, " r2                     \
                         ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32." NAME     \
                         "." NAME " {" REGISTERS_##n_sums "}, " r0 ", " r1                \
                         ", keep, 1, 1, " r3 ", " r4 ";\n}\n"                             \
                         : SUMS_##n_sums(0)                                               \
                         : "l"(a), "l"(b), "r"(keep), "n"(A_ALONG_K ? 0 : 1),             \
                           "n"(B_ALONG_K ? 0 : 1));                                       \
        }                                                                                 \
        template <bool B_ALONG_K>                                                         \
        PORT_DEVICE static void add_rows(float (&d)[n_sums], const u32 (&a)[4], u64 b,    \
                                         u32 keep) {                                      \
            asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, " r5                     \
                         ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32." NAME     \
                         "." NAME " {" REGISTERS_##n_sums "}, {" r0 ", " r1 ", " r2 ", " r3 \
                         "}, " r4 ", keep, 1, 1, " r6 ";\n}\n"                            \
                         : SUMS_##n_sums(0)                                               \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep), \
                           "n"(B_ALONG_K ? 0 : 1));                                       \
        }                                                                                 \
    };

WGMMA_SHAPE(64, 32, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
WGMMA_SHAPE(128, 64, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
WGMMA_SHAPE(192, 96, "%96", "%97", "%98", "%99", "%100", "%101", "%102")
WGMMA_SHAPE(256, 128, "%128", "%129", "%130", "%131", "%132", "%133", "%134")

#undef WGMMA_SHAPE
#undef SUMS_8
#undef SUMS_32
#undef SUMS_64
#undef SUMS_96
#undef SUMS_128
#undef REGISTERS_32
#undef REGISTERS_64
#undef REGISTERS_96
#undef REGISTERS_128
