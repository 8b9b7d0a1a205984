// Sample frames at shifts that vary over them and add them to weighted sums: the twin of _cpu_motion.py.

#define GRID 32
#define BLOCK_ROWS 8
#define MOST_SUMS 8
#define TAPS 7

// Index of a pixel after reflection at the edges, the edge pixel repeated.
__device__ inline int mirror(int i, int n)
{
    i %= 2 * n;
    if (i < 0) i += 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

// Shifts of frames at every GRID-th px: ``down`` where pixels are taken, ``across`` where they are written.
// ``local`` (frame, 2, 6) are RELION's coefficients of 1 x x^2 y y^2 xy at the time of each frame, y before x.
__device__ inline double moved(const double* shift, const double* local, int axis, double y, double x)
{
    const double* c = local + 6 * axis;
    return shift[axis] + c[0] + c[1] * x + c[2] * x * x + c[3] * y + c[4] * y * y + c[5] * x * y;
}

extern "C" __global__ void field_nodes(
    float* down, float* across, const double* shifts, const double* local,
    int n_frames, int rows, int columns, int ny, int nx)
{
    const int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= n_frames * rows * columns) return;
    const int f = number / (rows * columns);
    const double* shift = shifts + 2 * f;
    const double* coefficients = local + 12 * f;
    const double left = (number % columns) * GRID;
    const double y = ((number / columns) % rows * GRID + 0.5) / ny - 0.5;
    across[number] = (float)moved(shift, coefficients, 1, y, (left + 0.5) / nx - 0.5);
    // A pixel taken at x goes to x - shift; one step back from there is close enough.
    const double back = moved(shift, coefficients, 1, y, (left - shift[1] + 0.5) / nx - 0.5);
    down[number] = (float)moved(shift, coefficients, 0, y, (left - back + 0.5) / nx - 0.5);
}

struct Step {
    const float* begin;
    const float* end;
    int start;
};

// The taps at both ends of a grid step whose shift goes from one node to the next, in one row of pixels.
__device__ inline Step between(
    const float* field, const float* table, int last, int row, float part, int cell, int columns)
{
    const float* above = field + (size_t)row * columns + cell;
    const float* below = above + columns;
    const float left = (1 - part) * above[0] + part * below[0];
    const float right = (1 - part) * above[1] + part * below[1];
    const float start = floorf(fminf(left, right));
    const float scale = (float)(last / 2);
    Step step;
    step.start = (int)start;
    step.begin = table + TAPS * min((int)((left - start) * scale + 0.5f), last);
    step.end = table + TAPS * min((int)((right - start) * scale + 0.5f), last);
    return step;
}

// Each row of threads (a warp) makes GRID pixels: first the line they need, pulled down, then across.
extern "C" __global__ void add_moved(
    float* sums, const float* frames, const float* weights, const float* down, const float* across,
    const float* table, int last, int n_sums, int n_frames, int rows, int columns, int ny, int nx)
{
    __shared__ float lines[BLOCK_ROWS][GRID + TAPS];
    float* line = lines[threadIdx.y];
    const int lane = threadIdx.x, cell = blockIdx.x;
    const int x = cell * GRID + lane;
    const int y = blockIdx.y * BLOCK_ROWS + threadIdx.y;
    const bool inside = x < nx && y < ny;
    const int row = min(y, ny - 1) / GRID;
    const float part = (float)(min(y, ny - 1) % GRID) / GRID;
    float total[MOST_SUMS] = {};
    for (int f = 0; f < n_frames; f++) {
        const float* frame = frames + (size_t)f * ny * nx;
        const float* frame_down = down + (size_t)f * rows * columns;
        const float* frame_across = across + (size_t)f * rows * columns;
        const Step step = between(frame_across, table, last, row, part, cell, columns);
        for (int i = lane; i < GRID + TAPS - 1; i += GRID) {
            const int column = mirror(cell * GRID + step.start - 2 + i, nx);
            const Step pull = between(frame_down, table, last, row, part, column / GRID, columns);
            const float along = (float)(column % GRID) / GRID;
            float value = 0;
            #pragma unroll
            for (int k = 0; k < TAPS; k++) {
                const float tap = pull.begin[k] + (pull.end[k] - pull.begin[k]) * along;
                value += tap * __ldg(frame + (size_t)mirror(y + pull.start + k - 2, ny) * nx + column);
            }
            line[i] = value;
        }
        __syncwarp();
        const float along = (float)lane / GRID;
        float value = 0;
        #pragma unroll
        for (int k = 0; k < TAPS; k++)
            value += (step.begin[k] + (step.end[k] - step.begin[k]) * along) * line[lane + k];
        #pragma unroll
        for (int r = 0; r < MOST_SUMS; r++)
            if (r < n_sums) total[r] += weights[r * n_frames + f] * value;
        __syncwarp();
    }
    if (!inside) return;
    #pragma unroll
    for (int r = 0; r < MOST_SUMS; r++)
        if (r < n_sums) sums[((size_t)r * ny + y) * nx + x] += total[r];
}
