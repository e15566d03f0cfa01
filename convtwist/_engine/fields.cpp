// The fields of both layers, or their transposes, mixed where they are made; cpp.py calls this.
//
// Each thread takes a strip of rows at a time, in large maps a part of an image, in small ones several images: it makes
// their fields in its scratch, which stays in the cache, and multiplies them with the mixing weights.  Maps lie in memory
// as (images, rows, columns, channels), that is channels_last, or as (images, channels, rows, columns), and the mixture
// and the factor as they do.  Fields are always made with their channels side by side; of the second kind of maps, the
// rows that a strip reads are therefore turned into the first in the scratch.  Nothing is allocated here and nothing
// can fail.

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
  int64_t last;                              // whether channels are innermost in memory
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

// The fields of the rows from first to last of one image, which begins with its row ``top``.  zeros: a pixel of the
// padding.
template <int bank, bool transposed>
static void strip(const Plan& plan, const float* image, int64_t top, const float* zeros, const float* x, const float* y,
                  int64_t first, int64_t last, float* fields) {
  const float down = plan.dilation[0], right = plan.dilation[1];
  Pixel pixel = {{}, {}, {}, {1 / (8 * right), 1 / (8 * down), 1 / (2 * right * down * down),
                              1 / (2 * down * right * right)}};
  for (int64_t row = first; row < last; row++) {
    const float* rows[3];
    for (int k = 0; k < 3; k++) {
      const int64_t at = row * plan.stride[0] - plan.padding[0] + k * plan.dilation[0];
      const bool inside = at >= 0 && at < plan.height;
      rows[k] = inside ? image + (at - top) * plan.width * plan.channels : nullptr;
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

using Strip = void (*)(const Plan&, const float*, int64_t, const float*, const float*, const float*, int64_t, int64_t,
                       float*);
constexpr Strip STRIPS[4][2] = {
    {strip<SIMILARITY, false>, strip<SIMILARITY, true>}, {strip<AFFINE, false>, strip<AFFINE, true>},
    {strip<FIRST_ORDER, false>, strip<FIRST_ORDER, true>}, {strip<ISO, false>, strip<ISO, true>}};

// Eight rows of eight numbers, turned into eight columns, in registers.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define CONVTWIST_SHUFFLES
#endif
#endif
#ifdef CONVTWIST_SHUFFLES
static inline void turn_tile(const float* from, int64_t apart, float* to, int64_t beside) {
  Channels row[8], pair[8], four[8];
  for (int k = 0; k < 8; k++) row[k] = load<Channels>(from + k * apart);
  for (int k = 0; k < 8; k += 2) {
    pair[k] = __builtin_shufflevector(row[k], row[k + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pair[k + 1] = __builtin_shufflevector(row[k], row[k + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int k = 0; k < 8; k += 4)
    for (int j = 0; j < 2; j++) {
      four[k + 2 * j] = __builtin_shufflevector(pair[k + j], pair[k + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      four[k + 2 * j + 1] = __builtin_shufflevector(pair[k + j], pair[k + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int k = 0; k < 4; k++) {
    const Channels upper = __builtin_shufflevector(four[k], four[k + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    const Channels lower = __builtin_shufflevector(four[k], four[k + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    std::memcpy(to + k * beside, &upper, sizeof(Channels));
    std::memcpy(to + (k + 4) * beside, &lower, sizeof(Channels));
  }
}
#else
static inline void turn_tile(const float* from, int64_t apart, float* to, int64_t beside) {
  for (int64_t k = 0; k < 8; k++)
    for (int64_t j = 0; j < 8; j++) to[k * beside + j] = from[j * apart + k];
}
#endif

// Put the channels of so many pixels side by side; in ``from`` those of one channel are, ``apart`` from the next.
static void turn(const float* from, int64_t apart, int64_t pixels, int64_t channels, float* to) {
  for (int64_t channel = 0; channel < channels; channel += 8)
    for (int64_t pixel = 0; pixel < pixels; pixel += 8) {
      const float* tile = from + channel * apart + pixel;
      float* turned = to + pixel * channels + channel;
      if (channel + 8 <= channels && pixel + 8 <= pixels) {
        turn_tile(tile, apart, turned, channels);
        continue;
      }
      const int64_t across = std::min<int64_t>(8, pixels - pixel), down = std::min<int64_t>(8, channels - channel);
      for (int64_t k = 0; k < across; k++)
        for (int64_t j = 0; j < down; j++) turned[k * channels + j] = tile[j * apart + k];
    }
}

// Mix the fields into ``mixture``, and add up their products with ``factor`` for each thread; either may be null.
// ``mixing``: (fields x channels, mixed) for channels_last, else the other way round, in which order the product is
// quickest.  ``products``, likewise: (fields x channels, factors) or the other way round.  ``turned``: for each thread as
// many rows of the maps as a strip reads; not used for channels_last.
extern "C" void mix(const Plan* given, Gemm gemm, const float* maps, const float* zeros, const float* x, const float* y,
                    const float* mixing, float* mixture, const float* factor, float* products, float* scratch,
                    float* turned) {
  const Plan plan = *given;
  const int wide = FIELDS[plan.bank] * plan.channels, mixed = plan.mixed, factors = plan.factors;
  const int64_t rows = plan.images * plan.rows, area = plan.height * plan.width;
  const int whole = plan.rows * plan.columns;
  const int64_t read = std::min((plan.strip - 1) * plan.stride[0] + 2 * plan.dilation[0] + 1, plan.height);
  // A product is of one image where its pixels are side by side: strips end where images do, and are alike.
  const int64_t strips = (plan.rows + plan.strip - 1) / plan.strip, even = (plan.rows + strips - 1) / strips;
  const float one = 1, keep = plan.keep;
#pragma omp parallel for schedule(static) num_threads(plan.threads)
  for (int64_t thread = 0; thread < plan.threads; thread++) {
    float* fields = scratch + thread * plan.strip * plan.columns * wide;
    float* mine = turned + thread * read * plan.width * plan.channels;
    float* sum = products + thread * wide * factors;
    const int64_t start = rows * thread / plan.threads, end = rows * (thread + 1) / plan.threads;
    std::fill(sum, sum + int64_t(wide) * factors, 0.0f);
    for (int64_t first = start, last; first < end; first = last) {
      last = std::min(first + plan.strip, end);
      if (!plan.last) last = std::min(last, first + even - first % plan.rows % even);
      if (!plan.last) last = std::min(last, first - first % plan.rows + plan.rows);
      for (int64_t row = first, stop; row < last; row = stop) {  // image by image
        const int64_t image = row / plan.rows, before = image * plan.rows;
        stop = std::min(last, before + plan.rows);
        const float* map = maps + image * area * plan.channels;
        float* here = fields + (row - first) * plan.columns * wide;
        int64_t top = 0;
        if (!plan.last) {
          top = std::max<int64_t>(0, (row - before) * plan.stride[0] - plan.padding[0]);
          const int64_t bottom = std::min(plan.height, (stop - before - 1) * plan.stride[0] - plan.padding[0] +
                                                           2 * plan.dilation[0] + 1);
          if (top < bottom) turn(map + top * plan.width, area, (bottom - top) * plan.width, plan.channels, mine);
          map = mine;
        }
        STRIPS[plan.bank][plan.transposed](plan, map, top, zeros, x, y, row - before, stop - before, here);
        if (plan.last) continue;
        const int64_t at = (row - before) * plan.columns;
        const int pixels = (stop - row) * plan.columns;
        if (mixture)
          gemm("T", "N", &pixels, &mixed, &wide, &one, here, &wide, mixing, &wide, &keep,
               mixture + image * whole * mixed + at, &whole);
        if (factor)
          gemm("N", "N", &wide, &factors, &pixels, &one, here, &wide, factor + image * whole * factors + at, &whole,
               &one, sum, &wide);
      }
      if (!plan.last) continue;
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
