// Runs CUDA kernels on the host: every thread of a block is a fibre, and a barrier lets the next one run.
#include <ucontext.h>
#include <cmath>
#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __noinline__
#define __launch_bounds__(...)
struct Place { int x, y, z; };
static Place threadIdx, blockIdx, blockDim, gridDim;

template <class T> T __ldg(const T* place) { return *place; }
template <class T> T atomicAdd(T* place, T amount) { T old = *place; *place += amount; return old; }
static int min(int a, int b) { return a < b ? a : b; }
static int max(int a, int b) { return a > b ? a : b; }
static void sincospif(float x, float* s, float* c) { *s = sin(M_PI * x), *c = cos(M_PI * x); }

static ucontext_t scheduler;
static std::vector<ucontext_t> fibres;
static std::vector<char> finished;
static int current;

static void wait_for_others() { swapcontext(&fibres[current], &scheduler); }
#define __syncthreads wait_for_others
#define __syncwarp wait_for_others

static void (*body)(void**);
static void** arguments;
static void enter() { body(arguments); finished[current] = 1; }

template <class... A, size_t... I>
void spread(void (*kernel)(A...), void** a, std::index_sequence<I...>) { kernel(*(A*)a[I]...); }
template <class... A> void apply(void (*kernel)(A...), void** a)
{
    spread(kernel, a, std::make_index_sequence<sizeof...(A)>());
}

static void run_grid(Place grid, Place block)
{
    const int count = block.x * block.y * block.z;
    const size_t depth = 1 << 15;
    static std::vector<char> stacks;
    stacks.resize(depth * count);
    fibres.resize(count);
    blockDim = block;
    gridDim = grid;
    for (int b = 0; b < grid.x * grid.y * grid.z; b++) {
        blockIdx = {b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)};
        finished.assign(count, 0);
        for (int t = 0; t < count; t++) {
            getcontext(&fibres[t]);
            fibres[t].uc_stack.ss_sp = stacks.data() + depth * t;
            fibres[t].uc_stack.ss_size = depth;
            fibres[t].uc_link = &scheduler;
            makecontext(&fibres[t], enter, 0);
        }
        for (bool left = true; left;) {
            left = false;
            for (current = 0; current < count; current++) {
                if (finished[current]) continue;
                threadIdx = {current % block.x, current / block.x % block.y, current / (block.x * block.y)};
                swapcontext(&scheduler, &fibres[current]);
                left |= !finished[current];
            }
        }
    }
}

#define ENTRY(name) \
    extern "C" void host_##name(int* grid, int* block, void** a) \
    { \
        body = [](void** given) { apply(name, given); }; \
        arguments = a; \
        run_grid({grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}); \
    }
