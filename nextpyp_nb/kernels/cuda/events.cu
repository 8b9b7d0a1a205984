// Electron events of EER to counts: the twin of _add_events in formats/eer.py, one thread a raw frame.

// Runs over the events of one raw frame and adds ``step`` at each; returns the pixel where the stream ends.
__device__ inline long long run_events(
    const unsigned long long* stream, long long bits, int run_bits, int sub_bits, int x_bits, int height,
    int width, unsigned int* words, long long first, int wide, int step)
{
    const unsigned long long full = (1ull << run_bits) - 1;
    const long long size = (long long)height * width;
    unsigned long long now = stream[0], next = stream[1];
    long long word = 0, used = 0, pixel = 0;
    int place = 0;
    while (used + run_bits <= bits) {
        // Bits run from the lowest up; 64 from ``place`` on.
        unsigned long long held = place ? (now >> place) | (next << (64 - place)) : now;
        const long long run = (long long)(held & full);
        pixel += run;
        used += run_bits;
        int taken = run_bits;
        if (pixel >= size) return pixel;
        if (run != (long long)full) {
            held >>= run_bits;
            long long at = first + pixel;
            if (x_bits) {
                const long long right = 1 - ((held >> (x_bits - 1)) & 1);
                const long long up = 1 - ((held >> (sub_bits - 1)) & 1);
                const long long row = pixel / width;
                at = first + (2 * row + up) * 2 * width + 2 * (pixel - row * width) + right;
            }
            // Counts lie side by side in words; none outgrows its share, so no carry reaches the next.
            if (wide) atomicAdd(words + (at >> 1), (unsigned int)step << (16 * (at & 1)));
            else atomicAdd(words + (at >> 2), (unsigned int)step << (8 * (at & 3)));
            pixel++;
            used += sub_bits;
            taken += sub_bits;
        }
        place += taken;
        if (place >= 64) {
            place -= 64;
            word++;
            now = next;
            // Two words of padding follow every stream.
            if (64 * word < bits) next = stream[word + 1];
        }
    }
    return pixel;
}

// ``streams`` are words of all raw frames; ``starts`` (word), ``bits`` and ``frames`` one a raw frame.
// ``wide`` counts have 16 bits, else 8. A raw frame that does not end at its last pixel is taken back.
extern "C" __global__ void add_events(
    const unsigned long long* streams, const long long* starts, const long long* bits, const int* frames,
    unsigned int* words, int* intact, int n_raw, int run_bits, int sub_bits, int x_bits, int height,
    int width, int wide)
{
    const int raw = blockIdx.x * blockDim.x + threadIdx.x;
    if (raw >= n_raw) return;
    const long long size = (long long)height * width;
    const long long first = frames[raw] * (x_bits ? 4 * size : size);
    const unsigned long long* stream = streams + starts[raw];
    const bool whole = run_events(
        stream, bits[raw], run_bits, sub_bits, x_bits, height, width, words, first, wide, 1) == size;
    if (!whole)
        run_events(stream, bits[raw], run_bits, sub_bits, x_bits, height, width, words, first, wide, -1);
    intact[raw] = whole;
}
