// The fields of both layers, or their transposes, mixed where they are made; native.py calls this.
//
// Maps are channels_last: (images, rows, columns, channels).  Each thread takes a strip of rows at a time, in large
// maps a part of an image, in small ones several images: it makes their fields in its scratch, which stays in the cache,
// and multiplies them with the mixing weights.  Nothing is
// allocated here and nothing can fail.

#include <algorithm>
#include <cstdint>
#include <cstring>

using Gemm = void (*)(const char*, const char*, const int*, const int*, const int*, const float*, const float*,
                      const int*, const float*, const int*, const float*, float*, const int*);

enum Bank { SIMILARITY, AFFINE, FIRST_ORDER, ISO };
constexpr int FIELDS[] = {2, 4, 8, 4};

struct Plan {
  int64_t bank, transposed, threads, strip;  // strip: rows at a time
  int64_t images, height, width, channels;   // of the maps that are differentiated
  int64_t rows, columns;                     // of their fields
  int64_t stride[2], padding[2], dilation[2];
  int64_t mixed, factors;                    // channels of the mixture; of the maps that are multiplied
  int64_t keep;                              // whether to add the mixture to what is there
};

// Several channels at once, in whatever registers the processor has; a single one where they don't fill these.
typedef float Channels __attribute__((vector_size(32)));

template <class V>
static inline V load(const float* from) {
  V values;
  std::memcpy(&values, from, sizeof(V));
  return values;
}

// The weights of the nine taps, row by row: those of dx, dy, dxyy and dxxy but for a factor, and the Laplacian's.
template <int kind, class V>
static inline V derivative(const V* v) {
  constexpr float middle = kind < 2 ? 2 : -2;
  if (kind % 2 == 0) return (v[2] - v[0]) + middle * (v[5] - v[3]) + (v[8] - v[6]);
  return (v[6] - v[0]) + middle * (v[7] - v[1]) + (v[8] - v[2]);
}

// The same of x v and of y v, with few products.
template <int kind, class V>
static inline V derivative_of_x(const V* v, const float* x) {
  constexpr float middle = kind < 2 ? 2 : -2;
  if (kind % 2 == 0) return x[2] * (v[2] + middle * v[5] + v[8]) - x[0] * (v[0] + middle * v[3] + v[6]);
  return x[0] * (v[6] - v[0]) + (middle * x[1]) * (v[7] - v[1]) + x[2] * (v[8] - v[2]);
}

template <int kind, class V>
static inline V derivative_of_y(const V* v, const float* y) {
  constexpr float middle = kind < 2 ? 2 : -2;
  if (kind % 2 == 0) return y[0] * (v[2] - v[0]) + (middle * y[1]) * (v[5] - v[3]) + y[2] * (v[8] - v[6]);
  return y[2] * (v[6] + middle * v[7] + v[8]) - y[0] * (v[0] + middle * v[1] + v[2]);
}

template <class V>
static inline V laplacian(const V* v) {
  return ((v[0] + v[2] + v[6] + v[8]) + 4.0f * (v[1] + v[3] + v[5] + v[7]) - 20.0f * v[4]) * (1 / 6.0f);
}

struct Pixel {
  const float* taps[9];
  float x[3], y[3];  // coordinates of the three columns and rows
  float scale[4];    // of the four derivatives
};

// All fields of a few channels of a pixel, each field ``apart`` from the one before.
template <int bank, bool transposed, class V>
static inline void fields_of(const Pixel& pixel, int64_t channel, int64_t apart, float* fields) {
  V v[9];
  for (int k = 0; k < 9; k++) v[k] = load<V>(pixel.taps[k] + channel);
  auto put = [&](int field, V values) { std::memcpy(fields + field * apart + channel, &values, sizeof(V)); };
  const float *x = pixel.x, *y = pixel.y, *scale = pixel.scale;
  // An odd kernel turned over is its negative.
#define BY_X(kind) (transposed ? -scale[kind] * derivative_of_x<kind>(v, x) : scale[kind] * x[1] * derivative<kind>(v))
#define BY_Y(kind) (transposed ? -scale[kind] * derivative_of_y<kind>(v, y) : scale[kind] * y[1] * derivative<kind>(v))
  if (bank == ISO) {
    put(0, v[4]);
    put(1, laplacian(v));
  }
  if (bank == SIMILARITY || bank == ISO) {
    put(bank == ISO ? 2 : 0, BY_X(0) + BY_Y(1));
    put(bank == ISO ? 3 : 1, BY_Y(0) - BY_X(1));
  } else {
    put(0, BY_X(0));
    put(1, BY_Y(0));
    put(2, BY_X(1));
    put(3, BY_Y(1));
  }
  if (bank == FIRST_ORDER) {
    put(4, BY_X(2));
    put(5, BY_Y(2));
    put(6, BY_X(3));
    put(7, BY_Y(3));
  }
}

// The fields of the rows from first to last of one image.  zeros: a pixel of the padding.
template <int bank, bool transposed>
static void strip(const Plan& plan, const float* image, const float* zeros, const float* x, const float* y,
                  int64_t first, int64_t last, float* fields) {
  const float down = plan.dilation[0], right = plan.dilation[1];
  Pixel pixel = {{}, {}, {}, {1 / (8 * right), 1 / (8 * down), 1 / (2 * right * down * down),
                              1 / (2 * down * right * right)}};
  for (int64_t row = first; row < last; row++) {
    const float* rows[3];
    for (int k = 0; k < 3; k++) {
      const int64_t at = row * plan.stride[0] - plan.padding[0] + k * plan.dilation[0];
      const bool inside = at >= 0 && at < plan.height;
      rows[k] = inside ? image + at * plan.width * plan.channels : nullptr;
      pixel.y[k] = transposed ? (inside ? y[at] : 0) : y[row];
    }
    for (int64_t column = 0; column < plan.columns; column++) {
      for (int k = 0; k < 3; k++) {
        const int64_t at = column * plan.stride[1] - plan.padding[1] + k * plan.dilation[1];
        const bool inside = at >= 0 && at < plan.width;
        pixel.x[k] = transposed ? (inside ? x[at] : 0) : x[column];
        for (int j = 0; j < 3; j++) pixel.taps[3 * j + k] = inside && rows[j] ? rows[j] + at * plan.channels : zeros;
      }
      constexpr int64_t step = sizeof(Channels) / sizeof(float);
      int64_t k = 0;
      for (; k + step <= plan.channels; k += step) fields_of<bank, transposed, Channels>(pixel, k, plan.channels, fields);
      for (; k < plan.channels; k++) fields_of<bank, transposed, float>(pixel, k, plan.channels, fields);
      fields += FIELDS[bank] * plan.channels;
    }
  }
}

using Strip = void (*)(const Plan&, const float*, const float*, const float*, const float*, int64_t, int64_t, float*);
constexpr Strip STRIPS[4][2] = {
    {strip<SIMILARITY, false>, strip<SIMILARITY, true>}, {strip<AFFINE, false>, strip<AFFINE, true>},
    {strip<FIRST_ORDER, false>, strip<FIRST_ORDER, true>}, {strip<ISO, false>, strip<ISO, true>}};

// Mix the fields into ``mixture``, and add up their products with ``factor`` for each thread; either may be null.
// ``mixing``: (fields x channels, mixed), in which order the product is quickest.
extern "C" void mix(const Plan* given, Gemm gemm, const float* maps, const float* zeros, const float* x, const float* y,
                    const float* mixing, float* mixture, const float* factor, float* products, float* scratch) {
  const Plan plan = *given;
  const int wide = FIELDS[plan.bank] * plan.channels, mixed = plan.mixed, factors = plan.factors;
  const int64_t rows = plan.images * plan.rows;
  const float one = 1, keep = plan.keep;
#pragma omp parallel for schedule(static) num_threads(plan.threads)
  for (int64_t thread = 0; thread < plan.threads; thread++) {
    float* fields = scratch + thread * plan.strip * plan.columns * wide;
    float* sum = products + thread * wide * factors;
    const int64_t start = rows * thread / plan.threads, end = rows * (thread + 1) / plan.threads;
    std::fill(sum, sum + int64_t(wide) * factors, 0.0f);
    for (int64_t first = start, last; first < end; first = last) {
      last = std::min(first + plan.strip, end);
      for (int64_t row = first, stop; row < last; row = stop) {  // image by image
        const int64_t image = row / plan.rows, before = image * plan.rows;
        stop = std::min(last, before + plan.rows);
        STRIPS[plan.bank][plan.transposed](plan, maps + image * plan.height * plan.width * plan.channels, zeros, x, y,
                                           row - before, stop - before, fields + (row - first) * plan.columns * wide);
      }
      const int64_t at = first * plan.columns;
      const int pixels = (last - first) * plan.columns;
      if (mixture)
        gemm("N", "N", &mixed, &pixels, &wide, &one, mixing, &mixed, fields, &wide, &keep, mixture + at * mixed, &mixed);
      if (factor)
        gemm("N", "T", &factors, &wide, &pixels, &one, factor + at * factors, &factors, fields, &wide, &one, sum,
             &factors);
    }
  }
}
