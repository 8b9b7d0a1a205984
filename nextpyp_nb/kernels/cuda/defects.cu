// What is taken out of frames: pixels that stick out of their surroundings (_outliers in gain.py) and what stands
// still (moving_part in align.py).

#define ROWS 8
#define COLUMNS 32
#define REACH 7  // px, of the widest window
#define SIDE 5

__device__ inline int mirror(int i, int n)
{
    i %= 2 * n;
    if (i < 0) i += 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

__device__ inline int clipped(int i, int least, int most) { return i < least ? least : i > most ? most : i; }

// The median of 5 x 5 pixels ``step`` apart; at an edge the window moves inwards.
__device__ __noinline__ float window_median(const float* image, int y, int x, int step, int ny, int nx)
{
    const int reach = 2 * step;
    y = clipped(y, reach, max(ny - 1 - reach, 0));
    x = clipped(x, reach, max(nx - 1 - reach, 0));
    float values[SIDE * SIDE];
    for (int k = 0; k < SIDE * SIDE; k++) {
        const int row = clipped(y + (k / SIDE) * step - reach, 0, ny - 1);
        const int column = clipped(x + (k % SIDE) * step - reach, 0, nx - 1);
        values[k] = image[(size_t)row * nx + column];
    }
    for (int k = 0; k < SIDE * SIDE; k++) {
        int less = 0, equal = 0;
        for (int i = 0; i < SIDE * SIDE; i++) {
            less += values[i] < values[k];
            equal += values[i] == values[k];
        }
        if (less <= SIDE * SIDE / 2 && less + equal > SIDE * SIDE / 2) return values[k];
    }
    return values[0];
}

// Marks pixels of an image (y, x) further than ``limit`` from that median; they are looked at where they are
// half as far from the mean of the window. ``contrast`` is how many times the median's square they must have.
extern "C" __global__ void mark_outliers(
    bool* bad, const float* image, int step, float limit, float contrast, int ny, int nx)
{
    __shared__ float tile[ROWS + 2 * REACH][COLUMNS + 2 * REACH];
    const int left = blockIdx.x * COLUMNS, top = blockIdx.y * ROWS;
    for (int row = threadIdx.y; row < ROWS + 2 * REACH; row += ROWS)
        for (int column = threadIdx.x; column < COLUMNS + 2 * REACH; column += COLUMNS)
            tile[row][column] = image[(size_t)mirror(top + row - REACH, ny) * nx + mirror(left + column - REACH, nx)];
    __syncthreads();
    const int x = left + threadIdx.x, y = top + threadIdx.y, half = SIDE * step / 2;
    if (x >= nx || y >= ny) return;
    float mean = 0;
    for (int row = -half; row <= half; row++)
        for (int column = -half; column <= half; column++)
            mean += tile[threadIdx.y + REACH + row][threadIdx.x + REACH + column];
    mean /= SIDE * step * SIDE * step;
    const float value = tile[threadIdx.y + REACH][threadIdx.x + REACH];
    bool off = fabsf(value - mean) > 0.5f * limit;
    if (off) {
        const float median = window_median(image, y, x, step, ny, nx), ratio = value * value / (median * median);
        off = fabsf(value - median) > limit && (ratio >= contrast || ratio <= 1 / contrast);
    }
    bad[(size_t)y * nx + x] = off;
}

// An image (y, x) at twice its size, in between linear.
__device__ inline float doubled(const float* image, int ny, int nx, int y, int x)
{
    const int row = y / 2, column = x / 2, below = min(max(row + (y & 1) * 2 - 1, 0), ny - 1);
    const int aside = min(max(column + (x & 1) * 2 - 1, 0), nx - 1);
    const float near = 0.75f * image[row * nx + column] + 0.25f * image[row * nx + aside];
    return 0.75f * near + 0.25f * (0.75f * image[below * nx + column] + 0.25f * image[below * nx + aside]);
}

// Takes what stands still off frames (f, y, x), and what is masked: both are images of half the size.
extern "C" __global__ void take_off(
    float* frames, const float* still, const float* mask, int n_frames, int ny, int nx, int half_ny, int half_nx)
{
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= ny * nx) return;
    const float level = doubled(still, half_ny, half_nx, place / nx, place % nx);
    const float share = doubled(mask, half_ny, half_nx, place / nx, place % nx);
    for (int f = 0; f < n_frames; f++) {
        float* pixel = frames + (size_t)f * ny * nx + place;
        *pixel = (*pixel - level) * share;
    }
}
