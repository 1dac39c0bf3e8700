#include "page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <vector>

#include "chart.h"

namespace deltacnn::cli {
namespace {

constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>deltacnn verify</title>
<style>
:root { --paper: #fbfbf9; --card: #fff; --ink: #1d2327; --soft: #68737a; --line: #e3e5e2;
  --work: #d9480f; --changed: #1971c2; --dense: #868e96; --missed: #c92a2a; --wrong: #9c36b5; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181a; --card: #1e2326; --ink: #e8eaea;
  --soft: #97a1a7; --line: #333a3e; --work: #ff8c42; --changed: #5ab0f5; --dense: #7b858c;
  --missed: #ff7b7b; --wrong: #da77f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem; max-width: 72rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.4rem 0 .6rem; }
p, figcaption { color: var(--soft); margin: .3rem 0 .8rem; max-width: 60rem; }
.cards { display: grid; grid-template-columns: repeat(4, 1fr); gap: .8rem; margin-top: 1.4rem; }
@media (max-width: 45rem) { .cards { grid-template-columns: 1fr 1fr; } }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .7rem 1rem; }
.card b { display: block; font-size: 1.45rem; line-height: 1.25; white-space: nowrap; }
.card span { color: var(--soft); font-size: .85rem; }
.panel { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .8rem 1rem; }
.key { color: var(--soft); font-size: .85rem; margin-right: 1.2rem; white-space: nowrap; }
.key i { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem;
  margin-right: .35rem; vertical-align: -.08rem; }
svg { display: block; width: 100%; height: auto; margin: .3rem 0 .6rem; }
svg text { fill: var(--soft); font-size: 12px; }
svg .axis { stroke: var(--line); }
figure { margin: 0 0 1.2rem; display: flex; flex-wrap: wrap; gap: .5rem; }
figure div { flex: 1 1 15rem; font-size: .85rem; color: var(--soft); }
figure img { width: 100%; display: block; border-radius: .4rem; }
figcaption { flex: 0 0 100%; margin: 0; max-width: none; font-size: .9rem; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
td, th { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; white-space: nowrap; }
td.name { overflow-wrap: anywhere; }
.bar { background: color-mix(in srgb, var(--work) 18%, transparent); border-radius: .2rem;
  height: .7rem; min-width: 1px; }
.bar i { display: block; background: var(--work); border-radius: .2rem; height: 100%; }
</style></head><body>
)";

std::string Base64(const std::vector<uint8_t>& bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve(bytes.size() / 3 * 4 + 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) three = three << 8 | (i + k < bytes.size() ? bytes[i + k] : 0U);
    for (size_t k = 0; k < 4; ++k)
      text += i + k > bytes.size() ? '=' : kDigits[three >> (18 - 6 * k) & 63];
  }
  return text;
}

std::string NameOfFile(const Json& path) {
  const std::string text = path.get<std::string>();
  const std::string name = std::filesystem::path(text).filename().string();
  return EscapeHtml(name.empty() ? text : name);
}

std::string Card(const std::string& value, const std::string& label) {
  return fmt::format("<div class=card><b>{}</b><span>{}</span></div>\n", value, label);
}

std::string Cards(const Json& report) {
  std::string html = "<div class=cards>\n";
  const double step = report["step_ms"]["median"].get<double>();
  const double dense = report["dense_ms"]["median"].get<double>();
  if (step > 0) {
    html += Card(fmt::format("{:.1f}x", dense / step),
                 fmt::format("faster: {:.2f} instead of {:.2f} ms", step, dense));
  }
  html += Card(FormatShare(report["macs_share"].get<double>()), "of the dense run's work");
  html += Card(FormatShare(report["input_changed"].get<double>()), "of the picture changed");
  const Json& agreement = report["agreement"];
  if (!agreement.is_null()) {
    constexpr std::array<std::array<const char*, 2>, 7> kShares = {
        {{"recall50", "recall, IoU 0.5"},
         {"precision50", "precision, IoU 0.5"},
         {"recall75", "recall, IoU 0.75"},
         {"precision75", "precision, IoU 0.75"},
         {"same_top1", "same best class"},
         {"pixels", "pixels of the same class"},
         {"keypoints", "key points in place"}}};
    for (const auto& [key, label] : kShares) {
      if (agreement.contains(key) && agreement[key].is_number())
        html += Card(fmt::format("{:.2f} %", 100 * agreement[key].get<double>()), label);
    }
  }
  if (report["max_abs_diff"].is_number())
    html += Card(fmt::format("{:.3g}", report["max_abs_diff"].get<double>()),
                 "largest difference of an output");
  return html + "</div>\n";
}

std::string Key(const char* colour, const char* label) {
  return fmt::format("<span class=key><i style=\"background:var(--{})\"></i>{}</span>", colour,
                     label);
}

std::vector<double> Values(const std::vector<FrameRecord>& records,
                           double (*value)(const FrameRecord&)) {
  std::vector<double> values(records.size());
  std::ranges::transform(records, values.begin(), value);
  return values;
}

std::string Timeline(const Verifier& verifier, bool has_objects) {
  const auto& records = verifier.records();
  const auto values = [&](double (*value)(const FrameRecord&)) { return Values(records, value); };
  TimeChart chart(records.front().number, records.back().number);
  std::vector<size_t> dense;
  for (size_t i = 0; i < records.size(); ++i)
    if (records[i].dense) dense.push_back(i);
  std::string html = "<h2>Over time</h2>\n<div class=panel>\n";
  html += Key("work", "work done, share of a dense run") +
          Key("changed", "share of the input that changed") + Key("dense", "a dense step");
  html += chart.Draw({{"work", values([](const FrameRecord& r) { return r.macs_share; }), true},
                      {"changed", values([](const FrameRecord& r) { return r.changed; }), false}},
                     Unit::kShare, dense);
  html += Key("work", "step, ms") + Key("dense", "dense run, ms");
  html += chart.Draw({{"work", values([](const FrameRecord& r) { return r.step_ms; }), true},
                      {"dense", values([](const FrameRecord& r) { return r.dense_ms; }), false}},
                     Unit::kMilliseconds, {});
  if (has_objects) {
    html += Key("missed", "objects of the dense run not found") +
            Key("wrong", "objects found that the dense run lacks");
    html +=
        chart.Draw({{"missed", values([](const FrameRecord& r) { return double(r.missed); }), true},
                    {"wrong", values([](const FrameRecord& r) { return double(r.wrong); }), true}},
                   Unit::kCount, {});
  }
  return html + "</div>\n";
}

std::string Picture(const std::vector<uint8_t>& jpeg, const char* label) {
  if (jpeg.empty()) return {};
  return fmt::format("<div>{}<img alt=\"{}\" src=\"data:image/jpeg;base64,{}\"></div>\n", label,
                     label, Base64(jpeg));
}

std::string Figure(const SampleFrame& sample, const Verifier& verifier, const char* remark) {
  const auto& records = verifier.records();
  const auto record = std::ranges::find(records, sample.number, &FrameRecord::number);
  return "<figure>\n" + Picture(sample.dense, "dense") +
         Picture(sample.incremental, "incremental") + Picture(sample.heat, "where it worked") +
         fmt::format(
             "<figcaption>Frame {}{}: {} objects, {} missed, {} wrong; work {}, {:.2f} ms"
             "</figcaption></figure>\n",
             sample.number, remark, record->objects, record->missed, record->wrong,
             FormatShare(record->macs_share), record->step_ms);
}

std::string Pictures(const Verifier& verifier) {
  const Album& album = *verifier.album();
  std::string html =
      "<h2>Frames</h2>\n<p>The heat map shows, for every place, the share of the network's "
      "multiply-adds that were done there: pale yellow little, red all of it.</p>\n";
  if (album.worst()) html += Figure(*album.worst(), verifier, " (most differences)");
  for (const SampleFrame& sample : album.spread()) html += Figure(sample, verifier, "");
  return html;
}

std::string Layers(const Json& layers) {
  std::vector<Block> blocks;
  double most = 0;
  for (const Json& layer : layers) {
    const auto macs = layer["macs"].get<double>();
    if (macs == 0) continue;
    most = std::max(most, macs);
    blocks.push_back(
        {fmt::format("{} {} {}", layer["name"].get<std::string>(), layer["op"].get<std::string>(),
                     ToString(layer["output"].get<Shape>())),
         macs, layer["computed"].get<double>()});
  }
  if (blocks.empty()) return {};
  std::string html =
      "<h2>Layers</h2>\n<p>A layer is as wide as its share of the network's multiply-adds and as "
      "high as the share of its pixels that was computed: what is filled is the work that is left."
      "</p>\n<div class=panel>" +
      Skyline(blocks);
  html +=
      "<table><tr><th>layer<th>operator<th>output<th class=number>multiply-adds"
      "<th class=number>computed<th class=number>changed<th style=\"width:22%\">\n";
  for (const Json& layer : layers) {
    const auto macs = layer["macs"].get<double>();
    if (macs == 0) continue;
    const auto computed = layer["computed"].get<double>();
    html += fmt::format(
        "<tr><td class=name>{}<td>{}<td>{}<td class=number>{}<td class=number>{}"
        "<td class=number>{}<td><div class=bar style=\"width:{:.2f}%\"><i style=\"width:{:.2f}%\">"
        "</i></div>\n",
        EscapeHtml(layer["name"].get<std::string>()), EscapeHtml(layer["op"].get<std::string>()),
        ToString(layer["output"].get<Shape>()), FormatCount(macs), FormatShare(computed),
        FormatShare(layer["changed"].get<double>()), 100 * macs / most, 100 * computed);
  }
  return html + "</table></div>\n";
}

}  // namespace

Status WritePage(const Output& output, const Json& report, const Verifier& verifier) {
  std::string html(kHead);
  const int threads = report["threads"].get<int>();
  html += fmt::format(
      "<h1>{} on {}</h1>\n<p>Policy {}, tolerance {:g}; {} frames, {} thread{}, {}; every frame "
      "beside a dense run of the same engine.</p>\n",
      NameOfFile(report["model"]), NameOfFile(report["video"]),
      EscapeHtml(report["policy"].get<std::string>()), report["tolerance"].get<double>(),
      report["frames"].get<int64_t>(), threads, threads == 1 ? "" : "s",
      report["isa"].get<std::string>());
  html += Cards(report);
  if (verifier.frames() > 0) {
    const Json& agreement = report["agreement"];
    html += Timeline(verifier, !agreement.is_null() && agreement["recall50"].is_number());
    html += Pictures(verifier);
  }
  if (report.contains("layers")) html += Layers(report["layers"]);
  html +=
      "<p>Averages leave out the first frame, which is dense in both runs. An object is one "
      "with a score of 0.4 or more; it is found if the other run has one of the same class "
      "with a score of 0.25 or more that overlaps enough.</p>\n</body></html>\n";
  return WriteText(output, html);
}

}  // namespace deltacnn::cli
