// Counts of any type: add them up, bin them, sample frames at shifts that vary over them and sum them. The twin
// of _cpu_motion.py. ``type`` is the character of NumPy's type; ``factor`` is 0 where a pixel is bad.

#define GRID 32
#define MOST_SUMS 8
#define TAPS 7
#define TOGETHER 8  // frames
#define SEGMENT 256  // px of the list of good ones
#define ATTEMPTS 14
#define WIDE 48  // px of the source of a tile, each way
#define STRIDE 4

struct Half {
    unsigned short bits;
    __device__ operator float() const
    {
        const int high = (bits >> 10) & 31, low = bits & 1023;
        // Infinite and not a number are both more than a float holds.
        const float size = ldexpf((float)(high ? low + 1024 : low + (high == 31)), high == 31 ? 300 : max(high, 1) - 25);
        return bits >> 15 ? -size : size;
    }
};

// Calls ``function`` for raw counts of their own type.
#define FOR_TYPE(type, function, raw, ...) \
    switch (type) { \
    case 'b': function((const signed char*)raw, __VA_ARGS__); break; \
    case 'B': function((const unsigned char*)raw, __VA_ARGS__); break; \
    case 'h': function((const short*)raw, __VA_ARGS__); break; \
    case 'H': function((const unsigned short*)raw, __VA_ARGS__); break; \
    case 'e': function((const Half*)raw, __VA_ARGS__); break; \
    case 'f': function((const float*)raw, __VA_ARGS__); break; \
    }

// Index of a pixel after reflection at the edges, the edge pixel repeated.
__device__ inline int mirror(int i, int n)
{
    if (i >= 0 && i < n) return i;
    i %= 2 * n;
    if (i < 0) i += 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

// The factors of a sensor (y, x), and how many good pixels the segments up to each hold.
struct Sensor {
    const float* factor;
    const int* good;
    int ny, nx;
};

__device__ inline unsigned int scrambled(unsigned int key)
{
    key = (key ^ (key >> 16)) * 0x85EBCA6Bu;
    key = (key ^ (key >> 13)) * 0xC2B2AE35u;
    return key ^ (key >> 16);
}

// A random good pixel near a bad one, that of donor_pixels in gain.py.
__device__ __noinline__ int donor(Sensor s, int place, int frame)
{
    const unsigned int key = (unsigned int)frame * 0x9E3779B1u + (unsigned int)place;
    const int reaches[ATTEMPTS] = {2, 2, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64};
    const int row = place / s.nx, column = place % s.nx;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        const unsigned int noise = scrambled(key + 0x7F4A7C15u * attempt);
        const int reach = reaches[attempt];
        const int y = row - reach + (int)((noise & 0xFFFF) * (2 * reach + 1) >> 16);
        const int x = column - reach + (int)((noise >> 16) * (2 * reach + 1) >> 16);
        if (y < 0 || y >= s.ny || x < 0 || x >= s.nx) continue;
        if (s.factor[(size_t)y * s.nx + x] != 0) return y * s.nx + x;
    }
    const int size = s.ny * s.nx, segments = (size + SEGMENT - 1) / SEGMENT;
    int left = (int)(scrambled(key) % (unsigned int)s.good[segments - 1]);
    int first = 0, last = segments - 1;
    while (first < last) {
        const int middle = (first + last) / 2;
        if (s.good[middle] > left) last = middle;
        else first = middle + 1;
    }
    if (first) left -= s.good[first - 1];
    for (int i = first * SEGMENT; i < size; i++)
        if (s.factor[i] != 0 && left-- == 0) return i;
    return place;
}

// A pixel of a frame, gain applied; of a good one near it where it is bad.
template <class T> __device__ inline float corrected(const T* frame, Sensor s, int place, int number)
{
    float factor = __ldg(s.factor + place);
    if (factor == 0) {
        place = donor(s, place, number);
        factor = s.factor[place];
    }
    return (float)frame[place] * factor;
}

template <class T> __device__ void add_up(const T* raw, float* total, int n_frames, int size, int place)
{
    float sum = 0;
    #pragma unroll 8
    for (int f = 0; f < n_frames; f++) sum += (float)raw[(size_t)f * size + place];
    total[place] = sum;
}

// Sum of frames (f, size), one thread a pixel.
extern "C" __global__ void total_counts(float* total, const void* raw, int type, int n_frames, int size)
{
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= size) return;
    FOR_TYPE(type, add_up, raw, total, n_frames, size, place)
}

template <class T>
__device__ void bin_up(const T* raw, float* small, Sensor s, int n_frames, int ny, int nx, int bin, int first, int place)
{
    const int y = place / nx * bin, x = place % nx * bin;
    const size_t size = (size_t)s.ny * s.nx;
    float sums[TOGETHER] = {};
    for (int k = 0; k < bin * bin; k++) {
        const int from = (y + k / bin) * s.nx + x + k % bin;
        const float factor = __ldg(s.factor + from);
        const T* pixel = raw + first * size + from;
        if (factor == 0) {
            for (int f = 0; f < TOGETHER; f++)
                if (first + f < n_frames) sums[f] += corrected(raw + (first + f) * size, s, from, first + f);
        } else {
            #pragma unroll
            for (int f = 0; f < TOGETHER; f++)
                if (first + f < n_frames) sums[f] += factor * (float)pixel[f * size];
        }
    }
    for (int f = 0; f < TOGETHER; f++)
        if (first + f < n_frames) small[(size_t)(first + f) * ny * nx + place] = sums[f] / (bin * bin);
}

// Means of bin x bin corrected pixels, small (f, ny, nx): a thread makes a pixel of TOGETHER frames.
extern "C" __global__ void bin_frames(
    float* small, const void* raw, const float* factor, const int* good, int type, int n_frames, int full_ny,
    int full_nx, int ny, int nx, int bin)
{
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= ny * nx) return;
    const Sensor s = {factor, good, full_ny, full_nx};
    FOR_TYPE(type, bin_up, raw, small, s, n_frames, ny, nx, bin, blockIdx.y * TOGETHER, place)
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

// The fields of one frame at the nodes, and the tap table.
struct Field {
    const float* down;
    const float* across;
    const float* table;
    int last, columns;
};

struct Step {
    const float* begin;
    const float* end;
    int start;
};

// The taps at both ends of a grid step whose shift goes from one node to the next, in one row of pixels.
__device__ inline Step between(Field field, const float* shift, int y, int cell)
{
    const float part = (float)(y % GRID) / GRID;
    const float* above = shift + y / GRID * field.columns + cell;
    const float* below = above + field.columns;
    const float left = (1 - part) * above[0] + part * below[0];
    const float right = (1 - part) * above[1] + part * below[1];
    const float start = floorf(fminf(left, right));
    const float scale = (float)(field.last / 2);
    Step step;
    step.start = (int)start;
    step.begin = field.table + TAPS * min((int)((left - start) * scale + 0.5f), field.last);
    step.end = field.table + TAPS * min((int)((right - start) * scale + 0.5f), field.last);
    return step;
}

struct Columns {
    int first, last;
};

// The real columns that those from x0 to x1 mirror.
__device__ inline Columns columns_of(int x0, int x1, int nx)
{
    const int a = mirror(x0, nx), b = mirror(x1, nx);
    Columns c = {min(a, b), max(a, b)};
    const int fold = (x0 - (x0 < 0 ? nx - 1 : 0)) / nx, last = (x1 - (x1 < 0 ? nx - 1 : 0)) / nx;
    for (int edge = fold + 1; edge <= last; edge++) {
        const int place = mirror(edge * nx, nx);
        c.first = min(c.first, place);
        c.last = max(c.last, place);
    }
    return c;
}

// The least and the largest shift in the cells from x0 to x1 and the rows from y0 to y1.
struct Range {
    float least, most;
};

__device__ inline Range range(const float* shift, int columns, int y0, int y1, int x0, int x1)
{
    Range r = {1e30f, -1e30f};
    for (int row = y0 / GRID; row <= y1 / GRID + 1; row++)
        for (int cell = x0 / GRID; cell <= x1 / GRID + 1; cell++) {
            r.least = fminf(r.least, shift[row * columns + cell]);
            r.most = fmaxf(r.most, shift[row * columns + cell]);
        }
    return r;
}

// Corrects the pixels of a tile into ``source``.
template <class T>
__device__ void load_tile(
    const T* raw, float (*source)[WIDE], Sensor s, int f, int above, int high, int first, int wide)
{
    const T* frame = raw + (size_t)f * s.ny * s.nx;
    for (int i = threadIdx.x; i < high * WIDE; i += blockDim.x) {
        const int column = i % WIDE;
        if (column >= wide) continue;
        const int place = mirror(above + i / WIDE, s.ny) * s.nx + mirror(first + column, s.nx);
        source[i / WIDE][column] = corrected(frame, s, place, f);
    }
}

template <class T> __device__ void read_one(const T* raw, float* value, Sensor s, int f, int place)
{
    *value = corrected(raw + (size_t)f * s.ny * s.nx, s, place, f);
}

// What stands at (y, x) of a frame that is pulled down only, straight from the frame.
__device__ __noinline__ float pulled(const void* raw, int type, Sensor s, Field field, int f, int y, int x)
{
    const Step pull = between(field, field.down, y, x / GRID);
    const float along = (float)(x % GRID) / GRID;
    float sum = 0;
    for (int k = 0; k < TAPS; k++) {
        const int place = mirror(y + pull.start + k - 2, s.ny) * s.nx + x;
        float value = 0;
        FOR_TYPE(type, read_one, raw, &value, s, f, place)
        sum += (pull.begin[k] + (pull.end[k] - pull.begin[k]) * along) * value;
    }
    return sum;
}

// Pulls the pixels of a tile down, MANY columns at a time which lie in the same grid step.
template <int MANY>
__device__ inline void pull_down(
    float (*lines)[WIDE], const float (*source)[WIDE], Sensor s, Field field, int top, int above, int first, int wide)
{
    const int groups = (wide + MANY - 1) / MANY;
    for (int i = threadIdx.x; i < GRID * groups; i += blockDim.x) {
        const int row = i / groups, column = i % groups * MANY;
        const int y = min(top + row, s.ny - 1), x = mirror(first + column, s.nx);
        const Step pull = between(field, field.down, y, x / GRID);
        const float (*near)[WIDE] = source + (y + pull.start - 2 - above);
        const float here = (float)(x % GRID) / GRID;
        float value[MANY] = {};
        #pragma unroll
        for (int k = 0; k < TAPS; k++) {
            const float begin = pull.begin[k], slope = pull.end[k] - begin;
            #pragma unroll
            for (int j = 0; j < MANY; j++)
                value[j] += (begin + slope * (here + (float)j / GRID)) * near[k][column + j];
        }
        #pragma unroll
        for (int j = 0; j < MANY; j++) lines[row][column + j] = value[j];
    }
}

// Weighted sums (r, y, x) of corrected frames sampled at the shifts of field_nodes. A block makes a tile of
// GRID x GRID pixels, a thread STRIDE of them in a row: each frame is corrected into ``source``, pulled down into
// ``lines``, then pulled across. Where motion varies more than these hold, the frame itself is read.
extern "C" __launch_bounds__(256, 3) __global__ void sum_moved(
    float* sums, const void* raw, const float* factor, const int* good, const float* weights, const float* down,
    const float* across, const float* table, int type, int last, int n_sums, int n_frames, int rows, int columns,
    int ny, int nx)
{
    __shared__ float source[WIDE][WIDE];
    __shared__ float lines[GRID][WIDE];
    const Sensor s = {factor, good, ny, nx};
    Field field = {down, across, table, last, columns};
    const int top = blockIdx.y * GRID, left = blockIdx.x * GRID, bottom = min(top + GRID, ny) - 1;
    const int line = threadIdx.x / (GRID / STRIDE), y = min(top + line, ny - 1);
    const int x = left + threadIdx.x % (GRID / STRIDE) * STRIDE;
    float total[MOST_SUMS][STRIDE] = {};
    for (int f = 0; f < n_frames; f++, field.down += rows * columns, field.across += rows * columns) {
        // Rounding may take an interpolated shift just beyond the grid's.
        const Range aside = range(field.across, columns, top, bottom, left, left);
        int first = left + (int)floorf(aside.least - 1e-3f) - 2;
        const int end = left + GRID + (int)floorf(aside.most + 1e-3f) + 5;
        const bool within = first >= 0 && end <= nx;
        if (within) first -= first % STRIDE;
        const int wide = end - first;
        const Columns real = columns_of(first, end - 1, nx);
        const Range along = range(field.down, columns, top, bottom, real.first, real.last);
        const int above = top + (int)floorf(along.least - 1e-3f) - 2;
        const int high = bottom + (int)floorf(along.most + 1e-3f) + 5 - above;
        const bool held = wide <= WIDE && high <= WIDE;
        if (held) {
            FOR_TYPE(type, load_tile, raw, source, s, f, above, high, first, wide)
            __syncthreads();
            if (within) pull_down<STRIDE>(lines, source, s, field, top, above, first, wide);
            else pull_down<1>(lines, source, s, field, top, above, first, wide);
            __syncthreads();
        }
        const Step step = between(field, field.across, y, blockIdx.x);
        const int start = x + step.start - 2;
        float near[TAPS + STRIDE - 1], value[STRIDE] = {};
        if (held) {
            #pragma unroll
            for (int k = 0; k < TAPS + STRIDE - 1; k++) near[k] = lines[line][start - first + k];
        } else {
            for (int k = 0; k < TAPS + STRIDE - 1; k++)
                near[k] = pulled(raw, type, s, field, f, y, mirror(start + k, nx));
        }
        #pragma unroll
        for (int k = 0; k < TAPS; k++) {
            const float begin = step.begin[k], slope = step.end[k] - begin;
            #pragma unroll
            for (int j = 0; j < STRIDE; j++)
                value[j] += (begin + slope * ((float)(x - left + j) / GRID)) * near[k + j];
        }
        #pragma unroll
        for (int r = 0; r < MOST_SUMS; r++) {
            if (r >= n_sums) break;
            const float weight = __ldg(weights + r * n_frames + f);
            #pragma unroll
            for (int j = 0; j < STRIDE; j++) total[r][j] += weight * value[j];
        }
        // The next frame writes ``lines`` after a barrier of its own.
    }
    if (top + line >= ny) return;
    #pragma unroll
    for (int r = 0; r < MOST_SUMS; r++) {
        if (r >= n_sums) break;
        #pragma unroll
        for (int j = 0; j < STRIDE; j++)
            if (x + j < nx) sums[((size_t)r * ny + y) * nx + x + j] = total[r][j];
    }
}
