// Best pose and likelihood of every class for every particle: the twin of best_poses in class2d_search.py.

#define CLASSES 32
#define PARTS 8

// ``scores`` (rotation, particle, step, class) are gone through once; threads of a block share the rotations.
extern "C" __global__ void best_poses(
    float* likelihood, float* rotation, int* step, const float* scores, const float* prior, float scale,
    int rotations, int particles, int steps, int classes)
{
    __shared__ float tops[PARTS][CLASSES], sums[PARTS][CLASSES];
    __shared__ int places[PARTS][CLASSES];
    const int lane = threadIdx.x, part = threadIdx.y;
    const int k = blockIdx.x * CLASSES + lane, b = blockIdx.y;
    const size_t turn = (size_t)particles * steps * classes;
    const float* own = scores + (size_t)b * steps * classes + k;
    float top = -3.4e38f, sum = 0;
    int place = 0;
    if (k < classes) {
        for (int r = part; r < rotations; r += PARTS) {
            for (int s = 0; s < steps; s++) {
                const float score = scale * own[r * turn + s * classes] + prior[s];
                if (score > top) {
                    sum = sum * expf(top - score) + 1;
                    top = score;
                    place = r * steps + s;
                } else {
                    sum += expf(score - top);
                }
            }
        }
    }
    tops[part][lane] = top;
    sums[part][lane] = sum;
    places[part][lane] = place;
    __syncthreads();
    if (part || k >= classes) return;
    for (int p = 1; p < PARTS; p++) {
        const float other = tops[p][lane], higher = fmaxf(top, other);
        sum = sum * expf(top - higher) + sums[p][lane] * expf(other - higher);
        if (other > top) place = places[p][lane];
        top = higher;
    }
    const int r = place / steps, s = place % steps;
    const float before = scale * own[(r + rotations - 1) % rotations * turn + s * classes] + prior[s];
    const float after = scale * own[(r + 1) % rotations * turn + s * classes] + prior[s];
    const float bend = fminf(before + after - 2 * top, -1e-6f);
    const float past = fminf(fmaxf(0.5f * (before - after) / bend, -0.5f), 0.5f);
    const size_t out = (size_t)b * classes + k;
    likelihood[out] = top + logf(sum);
    rotation[out] = (r + past) * (360.0f / rotations);
    step[out] = s;
}
