// Turn spectra, correlate them, add them up; what fits of offsets need of cubic-spline maps: the twins of
// _cpu_correlation.py and of combine_moments in exposure.py.

#define PLACES 16
#define ROWS 128
#define TIMES 3
#define SHAPES 5
#define MOMENTS 21
#define THREADS 64

struct alignas(8) Complex {
    float re, im;
};

// Windows (patch, frame, size, size) of frames (f, y, x), from ``corners`` (patch, 2) on.
extern "C" __global__ void cut_windows(
    float* windows, const float* frames, const int* corners, const float* window, int size, int ny, int nx)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= size * size) return;
    const int f = blockIdx.y, p = blockIdx.z, row = pixel / size, column = pixel % size;
    const size_t from = ((size_t)f * ny + corners[2 * p] + row) * nx + corners[2 * p + 1] + column;
    windows[((size_t)p * gridDim.y + f) * size * size + pixel] = frames[from] * window[row] * window[column];
}

// Move images back by ``moves`` (set, frame, 2) px: turns their spectra (set, frame, ky, kx), and adds them up.
extern "C" __global__ void turn_and_sum(
    Complex* total, Complex* spectra, const float* moves, const float* ky, const float* kx, int n_frames, int ny,
    int nx)
{
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= ny * nx) return;
    const int set = blockIdx.y;
    const float down = ky[place / nx], across = kx[place % nx];
    Complex sum = {0, 0};
    for (int f = 0; f < n_frames; f++) {
        const float* move = moves + 2 * ((size_t)set * n_frames + f);
        Complex* here = spectra + ((size_t)set * n_frames + f) * ny * nx + place;
        float sine, cosine;
        sincospif(2 * (down * move[0] + across * move[1]), &sine, &cosine);
        const Complex one = *here;
        const Complex turned = {one.re * cosine - one.im * sine, one.re * sine + one.im * cosine};
        *here = turned;
        sum.re += turned.re;
        sum.im += turned.im;
    }
    total[(size_t)set * ny * nx + place] = sum;
}

// Correlation of spectra (set, frame, ky, kx) with the others' sum (set, ky, kx), brought to a few ``places``
// along y only: (set, frame, part, place, kx), the parts being of ROWS rows each. ``to_y`` is (place, ky).
extern "C" __global__ void correlate_down(
    Complex* lines, const Complex* spectra, const Complex* total, const float* weight, const Complex* to_y,
    int n_images, int n_frames, int n_places, int ny, int nx)
{
    const int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= n_images * nx) return;
    const int image = number / nx, x = number % nx, first = blockIdx.z * PLACES, many = min(n_places - first, PLACES);
    const Complex* mine = spectra + (size_t)image * ny * nx;
    const Complex* all = total + (size_t)(image / n_frames) * ny * nx;
    Complex sums[PLACES] = {};
    for (int y = blockIdx.y * ROWS; y < min((int)(blockIdx.y + 1) * ROWS, ny); y++) {
        const Complex one = mine[y * nx + x], sum = all[y * nx + x];
        const float scale = weight[y * nx + x], re = scale * (sum.re - one.re), im = scale * (one.im - sum.im);
        const Complex product = {one.re * re - one.im * im, one.re * im + one.im * re};
        #pragma unroll
        for (int p = 0; p < PLACES; p++) {
            if (p >= many) break;
            const Complex turn = to_y[(first + p) * ny + y];
            sums[p].re += product.re * turn.re - product.im * turn.im;
            sums[p].im += product.re * turn.im + product.im * turn.re;
        }
    }
    Complex* line = lines + (((size_t)image * gridDim.y + blockIdx.y) * n_places + first) * nx + x;
    #pragma unroll
    for (int p = 0; p < PLACES; p++) {
        if (p >= many) break;
        line[(size_t)p * nx] = sums[p];
    }
}

// Adds the spectrum (ky, kx) of a weighted sum to the weighted mean's, times a curve over the frequency.
extern "C" __global__ void add_spectrum(
    Complex* weighted, const Complex* spectrum, const float* curve, const float* ky, const float* kx, int ny,
    int nx)
{
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= ny * nx) return;
    const float y = ky[place / nx], x = kx[place % nx], scale = curve[(int)(sqrtf(y * y + x * x) + 0.5f)];
    weighted[place].re += scale * spectrum[place].re;
    weighted[place].im += scale * spectrum[place].im;
}

// Weights of value, slope and curvature at a place; gives where the first of the four points is.
__device__ inline int taps_at(double place, int n, double (*taps)[4])
{
    const double inside = fmin(fmax(place, 1.0), n - 2 - 1e-6);
    const int first = (int)inside;
    const double t = inside - first, u = 1 - t, level = place == inside ? 1 : 0;
    taps[0][0] = u * u * u / 6;
    taps[0][1] = (3 * t * t * t - 6 * t * t + 4) / 6;
    taps[0][2] = (-3 * t * t * t + 3 * t * t + 3 * t + 1) / 6;
    taps[0][3] = t * t * t / 6;
    taps[1][0] = -level * u * u / 2;
    taps[1][1] = level * (3 * t * t - 4 * t) / 2;
    taps[1][2] = level * (-3 * t * t + 2 * t + 1) / 2;
    taps[1][3] = level * t * t / 2;
    taps[2][0] = u;
    taps[2][1] = 3 * t - 2;
    taps[2][2] = 1 - 3 * t;
    taps[2][3] = t;
    return first - 1;
}

// What fits of offsets need of maps (patch, frame, n, n), for each fit and patch MOMENTS sums over its frames:
// of values; of curvatures (less than 0 at a peak) and of squared slopes; of slopes times each of TIMES factors,
// y and x; for y and for x, of curvatures where they are peaks times each pair of factors.
// Offsets are shapes (patch, SHAPES) times amounts (fit, SHAPES, TIMES, 2) times times (fit, frame, TIMES), less
// ``at`` (patch, frame, 2), where the maps were made. ``used`` (fit, frame) says which frames count.
extern "C" __global__ void spline_moments(
    double* moments, const float* maps, const double* at, const double* shapes, const double* times,
    const bool* used, const double* amounts, int n_frames, int n)
{
    __shared__ double parts[THREADS][MOMENTS];
    const int patch = blockIdx.x, fit = blockIdx.y;
    double speed[TIMES][2] = {};
    for (int s = 0; s < SHAPES; s++)
        for (int k = 0; k < TIMES; k++)
            for (int axis = 0; axis < 2; axis++)
                speed[k][axis] += shapes[patch * SHAPES + s] * amounts[((fit * SHAPES + s) * TIMES + k) * 2 + axis];
    double sums[MOMENTS] = {};
    for (int f = threadIdx.x; f < n_frames; f += THREADS) {
        if (!used[fit * n_frames + f]) continue;
        const size_t number = (size_t)patch * n_frames + f;
        const double* time = times + ((size_t)fit * n_frames + f) * TIMES;
        double offset[2] = {-at[2 * number], -at[2 * number + 1]};
        for (int k = 0; k < TIMES; k++)
            for (int axis = 0; axis < 2; axis++) offset[axis] += time[k] * speed[k][axis];
        double down[3][4], across[3][4], read[5] = {};
        const int y = taps_at(offset[0] + n / 2, n, down);
        const int x = taps_at(offset[1] + n / 2, n, across);
        const float* map = maps + (number * n + y) * n + x;
        for (int i = 0; i < 4; i++) {
            double rows[3] = {};
            for (int j = 0; j < 4; j++)
                for (int k = 0; k < 3; k++) rows[k] += across[k][j] * map[i * n + j];
            read[0] += down[0][i] * rows[0];
            read[1] += down[1][i] * rows[0];
            read[2] += down[0][i] * rows[1];
            read[3] += down[2][i] * rows[0];
            read[4] += down[0][i] * rows[2];
        }
        sums[0] += read[0];
        sums[1] += read[3] + read[4];
        sums[2] += read[1] * read[1] + read[2] * read[2];
        int place = 3;
        for (int k = 0; k < TIMES; k++)
            for (int axis = 0; axis < 2; axis++) sums[place++] += time[k] * read[1 + axis];
        for (int axis = 0; axis < 2; axis++)
            for (int k = 0; k < TIMES; k++)
                for (int i = k; i < TIMES; i++) sums[place++] += time[k] * time[i] * fmax(-read[3 + axis], 0.0);
    }
    for (int m = 0; m < MOMENTS; m++) parts[threadIdx.x][m] = sums[m];
    __syncthreads();
    if (threadIdx.x >= MOMENTS) return;
    double total = 0;
    for (int t = 0; t < THREADS; t++) total += parts[t][threadIdx.x];
    moments[((size_t)fit * gridDim.x + patch) * MOMENTS + threadIdx.x] = total;
}
