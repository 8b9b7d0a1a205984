// Read cubic-spline maps of correlation: the twin of _cpu_correlation.py.

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

// Value (map), slope and curvature (map, 2) of maps (map, n, n) at offsets (map, 2) px from their middle.
extern "C" __global__ void read_splines(
    double* value, double* slope, double* bend, const float* maps, const double* offset, int count, int n)
{
    const int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= count) return;
    double down[3][4], across[3][4], rows[3][4];
    const int y = taps_at(offset[2 * number] + n / 2, n, down);
    const int x = taps_at(offset[2 * number + 1] + n / 2, n, across);
    const float* map = maps + ((size_t)number * n + y) * n + x;
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 3; k++) {
            rows[k][i] = 0;
            for (int j = 0; j < 4; j++) rows[k][i] += across[k][j] * map[i * n + j];
        }
    }
    double sums[5] = {0, 0, 0, 0, 0};
    for (int i = 0; i < 4; i++) {
        sums[0] += down[0][i] * rows[0][i];
        sums[1] += down[1][i] * rows[0][i];
        sums[2] += down[0][i] * rows[1][i];
        sums[3] += down[2][i] * rows[0][i];
        sums[4] += down[0][i] * rows[2][i];
    }
    value[number] = sums[0];
    slope[2 * number] = sums[1];
    slope[2 * number + 1] = sums[2];
    bend[2 * number] = sums[3];
    bend[2 * number + 1] = sums[4];
}
