#include "ops/typed_functions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "ops/half.h"

namespace deltacnn {
namespace {

struct Boolean {
  uint8_t byte;
};
struct Half {
  uint16_t bits;
};

/// Returns visit(T()) for the C++ type of `dtype`.
template <class Visit>
TypedFunction VisitType(DType dtype, Visit&& visit) {
  switch (dtype) {
    // NOLINTNEXTLINE(bugprone-branch-clone): the branches differ in type
    case DType::kFloat32:
      return visit(float());
    case DType::kFloat64:
      return visit(double());
    case DType::kInt8:
      return visit(int8_t());
    case DType::kUint8:
      return visit(uint8_t());
    case DType::kInt32:
      return visit(int32_t());
    case DType::kInt64:
      return visit(int64_t());
    case DType::kBool:
      return visit(Boolean());
    case DType::kFloat16:
      return visit(Half());
  }
  return nullptr;
}

/// VisitType for the types that C++ can calculate with.
template <class Visit>
TypedFunction VisitNumber(DType dtype, Visit&& visit) {
  return VisitType(dtype, [&]<class T>(T) -> TypedFunction {
    if constexpr (std::is_arithmetic_v<T>) {
      return visit(T());
    } else {
      return nullptr;
    }
  });
}

template <class Out, class A, class F>
TypedFunction Map(F) {
  return [](const void* const* in, void* out, size_t n, float) {
    const auto* a = static_cast<const A*>(in[0]);
    auto* to = static_cast<Out*>(out);
    for (size_t i = 0; i < n; ++i) to[i] = F{}(a[i]);
  };
}

template <class Out, class A, class B, class F>
TypedFunction Map(F) {
  return [](const void* const* in, void* out, size_t n, float) {
    const auto* a = static_cast<const A*>(in[0]);
    const auto* b = static_cast<const B*>(in[1]);
    auto* to = static_cast<Out*>(out);
    for (size_t i = 0; i < n; ++i) to[i] = F{}(a[i], b[i]);
  };
}

template <class Out, class A, class B, class C, class F>
TypedFunction Map(F) {
  return [](const void* const* in, void* out, size_t n, float) {
    const auto* a = static_cast<const A*>(in[0]);
    const auto* b = static_cast<const B*>(in[1]);
    const auto* c = static_cast<const C*>(in[2]);
    auto* to = static_cast<Out*>(out);
    for (size_t i = 0; i < n; ++i) to[i] = F{}(a[i], b[i], c[i]);
  };
}

template <class To, class From>
To Convert(From x) {
  if constexpr (std::is_same_v<From, Boolean>) {
    return Convert<To>(static_cast<uint8_t>(x.byte != 0));
  } else if constexpr (std::is_same_v<From, Half>) {
    return Convert<To>(HalfToFloat(x.bits));
  } else if constexpr (std::is_same_v<To, Boolean>) {
    return {static_cast<uint8_t>(x != 0)};
  } else if constexpr (std::is_same_v<To, Half>) {
    return {FloatToHalf(static_cast<float>(x))};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if constexpr (sizeof(To) < sizeof(int32_t)) return static_cast<To>(Convert<int32_t>(x));
    constexpr To kLowest = std::numeric_limits<To>::min();
    // 2^31 or 2^63; unlike the largest integer it is exact in every type.
    constexpr From kEnd = -static_cast<From>(kLowest);
    // Above -kEnd - 1 truncation still gives -kEnd.
    return x > -kEnd - 1 && x < kEnd ? static_cast<To>(x) : kLowest;
  } else {
    return static_cast<To>(x);
  }
}

/// The type in which +, - and * of integers wrap around.
template <class T>
using Wrapping = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;

template <class T>
T Divide(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0) return 0;
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return static_cast<T>(-static_cast<uint64_t>(a));
    }
  }
  return static_cast<T>(a / b);
}

/// The remainder with the sign of the dividend.
template <class T>
T Remainder(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmod(a, b);
  } else {
    return static_cast<T>(static_cast<uint64_t>(a) -
                          static_cast<uint64_t>(Divide(a, b)) * static_cast<uint64_t>(b));
  }
}

/// The remainder with the sign of the divisor.
template <class T>
T FloorRemainder(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0) return 0;
  }
  const T r = Remainder(a, b);
  if (r != 0) return static_cast<T>((r < 0) != (b < 0) ? r + b : r);
  if constexpr (std::is_floating_point_v<T>) return std::copysign(r, b);
  return r;
}

template <class T>
T Minimum(T a, T b) {
  return a < b || a != a ? a : b;
}
template <class T>
T Maximum(T a, T b) {
  return a > b || a != a ? a : b;
}

template <class T>
TypedFunction FloatFunction(std::string_view name) {
  if (name == "Floor") return Map<T, T>([](T x) { return std::floor(x); });
  if (name == "Ceil") return Map<T, T>([](T x) { return std::ceil(x); });
  if (name == "Round") return Map<T, T>([](T x) { return std::nearbyint(x); });
  if (name == "Sqrt") return Map<T, T>([](T x) { return std::sqrt(x); });
  if (name == "Exp") return Map<T, T>([](T x) { return std::exp(x); });
  if (name == "Log") return Map<T, T>([](T x) { return std::log(x); });
  if (name == "Reciprocal") return Map<T, T>([](T x) { return 1 / x; });
  if (name == "Sigmoid") return Map<T, T>([](T x) { return 1 / (1 + std::exp(-x)); });
  if (name == "Tanh") return Map<T, T>([](T x) { return std::tanh(x); });
  return nullptr;
}

template <class T>
TypedFunction UnaryFunction(std::string_view name) {
  using W = Wrapping<T>;
  if (name == "Abs") {
    return Map<T, T>([](T x) { return x < 0 ? static_cast<T>(-static_cast<W>(x)) : x; });
  }
  if (name == "Neg") return Map<T, T>([](T x) { return static_cast<T>(-static_cast<W>(x)); });
  if (name == "Sign") return Map<T, T>([](T x) { return static_cast<T>((x > 0) - (x < 0)); });
  if (name == "Relu") return Map<T, T>([](T x) { return x < 0 ? T{0} : x; });
  if (name == "Clip") return Map<T, T>([](T x) { return x; });  // without bounds
  if constexpr (std::is_floating_point_v<T>) return FloatFunction<T>(name);
  return nullptr;
}

template <class T>
TypedFunction BinaryFunction(std::string_view name) {
  using W = Wrapping<T>;
  if (name == "Add" || name == "Sum")
    return Map<T, T, T>([](T a, T b) { return static_cast<T>(W(a) + W(b)); });
  if (name == "Sub") return Map<T, T, T>([](T a, T b) { return static_cast<T>(W(a) - W(b)); });
  if (name == "Mul") return Map<T, T, T>([](T a, T b) { return static_cast<T>(W(a) * W(b)); });
  if (name == "Div") return Map<T, T, T>([](T a, T b) { return Divide(a, b); });
  if (name == "Min") return Map<T, T, T>([](T a, T b) { return Minimum(a, b); });
  if (name == "Max") return Map<T, T, T>([](T a, T b) { return Maximum(a, b); });
  return nullptr;
}

template <class T>
TypedFunction Comparison(std::string_view name) {
  const auto map = [](auto compare) {
    return Map<Boolean, T, T>(
        [](T a, T b) -> Boolean { return {static_cast<uint8_t>(decltype(compare){}(a, b))}; });
  };
  if (name == "Equal") return map([](T a, T b) { return a == b; });
  if (name == "Greater") return map([](T a, T b) { return a > b; });
  if (name == "GreaterOrEqual") return map([](T a, T b) { return a >= b; });
  if (name == "Less") return map([](T a, T b) { return a < b; });
  if (name == "LessOrEqual") return map([](T a, T b) { return a <= b; });
  return nullptr;
}

TypedFunction Logic(std::string_view name) {
  const auto map = [](auto combine) {
    return Map<Boolean, Boolean, Boolean>([](Boolean a, Boolean b) -> Boolean {
      return {static_cast<uint8_t>(decltype(combine){}(a.byte != 0, b.byte != 0))};
    });
  };
  if (name == "And") return map([](bool a, bool b) { return a && b; });
  if (name == "Or") return map([](bool a, bool b) { return a || b; });
  if (name == "Xor") return map([](bool a, bool b) { return a != b; });
  if (name == "Equal") return map([](bool a, bool b) { return a == b; });
  return nullptr;
}

template <class T>
TypedFunction Classification(const Node& node) {
  const auto map = [](auto classify) {
    return Map<Boolean, T>(
        [](T x) -> Boolean { return {static_cast<uint8_t>(decltype(classify){}(x))}; });
  };
  if (node.op == "IsNaN") return map([](T x) { return std::isnan(x); });
  const bool negative = node.Int("detect_negative", 1) != 0;
  const bool positive = node.Int("detect_positive", 1) != 0;
  if (negative && positive) return map([](T x) { return std::isinf(x); });
  if (negative) return map([](T x) { return std::isinf(x) && x < 0; });
  if (positive) return map([](T x) { return std::isinf(x) && x > 0; });
  return map([](T) { return false; });
}

TypedFunction FindCast(DType from, DType to) {
  return VisitType(from, [&]<class From>(From) {
    return VisitType(
        to, []<class To>(To) { return Map<To, From>([](From x) { return Convert<To>(x); }); });
  });
}

TypedFunction FindPower(DType base, DType exponent) {
  return VisitNumber(base, [&]<class T>(T) {
    return VisitNumber(exponent, []<class E>(E) {
      return Map<T, T, E>([](T a, E b) {
        return Convert<T>(std::pow(static_cast<double>(a), static_cast<double>(b)));
      });
    });
  });
}

TypedFunction FindModulus(const Node& node, DType dtype) {
  const bool sign_of_dividend = node.Int("fmod", 0) != 0;
  return VisitNumber(dtype, [&]<class T>(T) {
    return sign_of_dividend ? Map<T, T, T>([](T a, T b) { return Remainder(a, b); })
                            : Map<T, T, T>([](T a, T b) { return FloorRemainder(a, b); });
  });
}

template <class T>
TypedFunction Select() {
  return Map<T, Boolean, T, T>(
      [](Boolean condition, T a, T b) { return condition.byte != 0 ? a : b; });
}

TypedFunction FindSelect(size_t size) {
  switch (size) {
    case 1:
      return Select<uint8_t>();
    case 2:
      return Select<uint16_t>();
    case 4:
      return Select<uint32_t>();
    default:
      return Select<uint64_t>();
  }
}

void ThresholdedRelu(const void* const* in, void* out, size_t n, float alpha) {
  const auto* x = static_cast<const float*>(in[0]);
  auto* to = static_cast<float*>(out);
  for (size_t i = 0; i < n; ++i) to[i] = x[i] > alpha ? x[i] : 0.0f;
}

}  // namespace

std::string TypedName(const Node& node) {
  return node.op == "TypedArithmetic" ? node.String("function", "") : node.op;
}

bool IsFolded(std::string_view name) { return name == "Max" || name == "Min" || name == "Sum"; }

TypedFunction FindTypedFunction(const Node& node, std::span<const DType> inputs, DType output) {
  const std::string name = TypedName(node);
  if (inputs.empty() || (inputs.size() > 3 && !IsFolded(name))) return nullptr;
  const DType type = inputs[0];
  if (name == "Cast" || name == "CastLike") return FindCast(type, output);
  if (name == "ThresholdedRelu") return type == DType::kFloat32 ? ThresholdedRelu : nullptr;
  if (name == "Pow") return inputs.size() == 2 ? FindPower(type, inputs[1]) : nullptr;
  if (name == "Where") {
    const bool fits = inputs.size() == 3 && type == DType::kBool && inputs[1] == inputs[2];
    return fits ? FindSelect(SizeOf(inputs[1])) : nullptr;
  }
  if (name == "Clip" && (node.Has("min") || node.Has("max"))) return nullptr;
  // All others take inputs of one type.
  if (std::ranges::any_of(inputs, [&](DType t) { return t != type; })) return nullptr;
  if (name == "Not") {
    if (type != DType::kBool) return nullptr;
    return Map<Boolean, Boolean>(
        [](Boolean x) -> Boolean { return {static_cast<uint8_t>(x.byte == 0)}; });
  }
  if (type == DType::kBool) return inputs.size() == 2 ? Logic(name) : nullptr;
  if (name == "Mod") return inputs.size() == 2 ? FindModulus(node, type) : nullptr;
  return VisitNumber(type, [&]<class T>(T) -> TypedFunction {
    if constexpr (std::is_floating_point_v<T>) {
      if (name == "IsNaN" || name == "IsInf") return Classification<T>(node);
    }
    if (name == "Clip" && inputs.size() == 3)
      return Map<T, T, T, T>([](T x, T low, T high) { return Minimum(Maximum(x, low), high); });
    if (name == "Clip" && inputs.size() == 2)
      return BinaryFunction<T>(node.Input(1) != kNoValue ? "Max" : "Min");
    if (inputs.size() == 1 && !IsFolded(name)) return UnaryFunction<T>(name);
    if (inputs.size() > 2 && !IsFolded(name)) return nullptr;
    const TypedFunction compare = Comparison<T>(name);
    return compare != nullptr ? compare : BinaryFunction<T>(name);
  });
}

}  // namespace deltacnn
