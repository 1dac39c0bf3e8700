#include "video/convert.h"

extern "C" {
#include <libavutil/motion_vector.h>
#include <libavutil/pixdesc.h>
#include <libavutil/video_enc_params.h>
}

#include <optional>
#include <string>

#include "video/pixel_format.h"

namespace deltacnn {
namespace {

std::optional<PixelFormat> NativeFormat(int format) {
  switch (format) {
    case AV_PIX_FMT_YUV420P:
    case AV_PIX_FMT_YUVJ420P:
      return PixelFormat::kI420;
    case AV_PIX_FMT_YUV422P:
    case AV_PIX_FMT_YUVJ422P:
      return PixelFormat::kI422;
    case AV_PIX_FMT_YUV444P:
    case AV_PIX_FMT_YUVJ444P:
      return PixelFormat::kI444;
    case AV_PIX_FMT_NV12:
      return PixelFormat::kNv12;
    case AV_PIX_FMT_GRAY8:
      return PixelFormat::kGray8;
    case AV_PIX_FMT_RGB24:
      return PixelFormat::kRgb24;
    case AV_PIX_FMT_BGR24:
      return PixelFormat::kBgr24;
    default:
      return std::nullopt;
  }
}

// The 8-bit format that keeps the most of `format`.
AVPixelFormat ConversionTarget(const AVPixFmtDescriptor& format) {
  if ((format.flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0) return AV_PIX_FMT_RGB24;
  if (format.nb_components < 3) return AV_PIX_FMT_GRAY8;
  if (format.log2_chroma_w == 1 && format.log2_chroma_h == 1) return AV_PIX_FMT_YUV420P;
  if (format.log2_chroma_w == 1 && format.log2_chroma_h == 0) return AV_PIX_FMT_YUV422P;
  return AV_PIX_FMT_YUV444P;
}

bool IsFullRange(const AVFrame& frame) {
  switch (frame.format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ411P:
      return true;
    default:
      break;
  }
  if (frame.color_range != AVCOL_RANGE_UNSPECIFIED) return frame.color_range == AVCOL_RANGE_JPEG;
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
  return format->nb_components < 3;  // gray images
}

// Pictures that do not say count as BT.601, as in FFmpeg and OpenCV.
ColorMatrix MatrixOf(const AVFrame& frame) {
  switch (frame.colorspace) {
    case AVCOL_SPC_BT709:
      return ColorMatrix::kBt709;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
      return ColorMatrix::kBt2020;
    default:
      return ColorMatrix::kBt601;
  }
}

FrameType TypeOf(const AVFrame& frame) {
  switch (frame.pict_type) {
    case AV_PICTURE_TYPE_I:
    case AV_PICTURE_TYPE_SI:
      return FrameType::kI;
    case AV_PICTURE_TYPE_P:
    case AV_PICTURE_TYPE_SP:
      return FrameType::kP;
    case AV_PICTURE_TYPE_B:
      return FrameType::kB;
    default:
      return FrameType::kUnknown;
  }
}

bool IsKeyframe(const AVFrame& frame) {
#ifdef AV_FRAME_FLAG_KEY
  return (frame.flags & AV_FRAME_FLAG_KEY) != 0;
#else
  return frame.key_frame != 0;
#endif
}

void ReadMotionVectors(const AVFrame& frame, std::vector<MotionVector>& vectors) {
  vectors.clear();
  const AVFrameSideData* data = av_frame_get_side_data(&frame, AV_FRAME_DATA_MOTION_VECTORS);
  if (data == nullptr) return;
  const auto* source = reinterpret_cast<const AVMotionVector*>(data->data);
  for (size_t i = 0; i < data->size / sizeof(AVMotionVector); ++i) {
    const AVMotionVector& vector = source[i];
    if (vector.motion_scale == 0) continue;
    // FFmpeg states the block's centre.
    vectors.push_back({.x = static_cast<int16_t>(vector.dst_x - vector.w / 2),
                       .y = static_cast<int16_t>(vector.dst_y - vector.h / 2),
                       .width = vector.w,
                       .height = vector.h,
                       .forward = vector.source < 0,
                       .dx = static_cast<float>(vector.motion_x) / vector.motion_scale,
                       .dy = static_cast<float>(vector.motion_y) / vector.motion_scale});
  }
}

void ReadBlockQp(const AVFrame& frame, std::vector<BlockQp>& blocks) {
  blocks.clear();
  const AVFrameSideData* data = av_frame_get_side_data(&frame, AV_FRAME_DATA_VIDEO_ENC_PARAMS);
  if (data == nullptr) return;
  auto* parameters = reinterpret_cast<AVVideoEncParams*>(data->data);
  for (unsigned i = 0; i < parameters->nb_blocks; ++i) {
    const AVVideoBlockParams* block = av_video_enc_params_block(parameters, i);
    blocks.push_back({.x = static_cast<int16_t>(block->src_x),
                      .y = static_cast<int16_t>(block->src_y),
                      .width = static_cast<int16_t>(block->w),
                      .height = static_cast<int16_t>(block->h),
                      .qp = static_cast<int16_t>(parameters->qp + block->delta_qp)});
  }
}

// Same size and range, other format. False where FFmpeg cannot.
bool ConvertInto(const AVFrame& source, AVPixelFormat format, FfmpegPtr<SwsContext>& scaler,
                 AVFrame& target) {
  const auto source_format = static_cast<AVPixelFormat>(source.format);
  scaler.reset(sws_getCachedContext(
      scaler.release(), source.width, source.height, source_format, source.width, source.height,
      format, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP, nullptr,
      nullptr, nullptr));
  if (scaler == nullptr) return false;
  const int full = IsFullRange(source) ? 1 : 0;
  const int* matrix = sws_getCoefficients(SWS_CS_DEFAULT);
  sws_setColorspaceDetails(scaler.get(), matrix, full, matrix, full, 0, 1 << 16, 1 << 16);

  if (target.width != source.width || target.height != source.height || target.format != format) {
    av_frame_unref(&target);
    target.width = source.width;
    target.height = source.height;
    target.format = format;
    if (av_frame_get_buffer(&target, 0) < 0) return false;
  }
  return sws_scale(scaler.get(), source.data, source.linesize, 0, source.height, target.data,
                   target.linesize) == source.height;
}

}  // namespace

Result<FrameView> FrameConverter::Convert(const AVFrame& source, const Orientation& orientation) {
  const AVPixFmtDescriptor* description =
      av_pix_fmt_desc_get(static_cast<AVPixelFormat>(source.format));
  const AVFrame* picture = &source;
  if (description == nullptr || source.width > FrameView::kMaxSide ||
      source.height > FrameView::kMaxSide) {
    return Error{ErrorCode::kLimit, "picture of " + std::to_string(source.width) + "x" +
                                        std::to_string(source.height) + ": sides up to " +
                                        std::to_string(FrameView::kMaxSide) +
                                        " are supported; scale the video down"};
  }
  auto format = static_cast<AVPixelFormat>(source.format);
  if (!NativeFormat(format)) format = ConversionTarget(*description);
  if (orientation.transpose && NativeFormat(format) == PixelFormat::kI422) {
    format = AV_PIX_FMT_YUV444P;
  }
  if (format != source.format) {
    if (converted_ == nullptr) converted_.reset(av_frame_alloc());
    if (!ConvertInto(source, format, scaler_, *converted_)) {
      return Error{ErrorCode::kUnsupported, std::string("pixel format ") + description->name +
                                                " cannot be converted; re-encode the video, "
                                                "e.g. with '-pix_fmt yuv420p'"};
    }
    picture = converted_.get();
  }

  FrameView view;
  view.format = *NativeFormat(picture->format);
  view.matrix = MatrixOf(source);
  view.range = IsFullRange(source) ? ColorRange::kFull : ColorRange::kLimited;
  view.type = TypeOf(source);
  view.keyframe = IsKeyframe(source);
  view.width = source.width;
  view.height = source.height;
  for (int p = 0; p < LayoutOf(view.format).planes; ++p) {
    view.planes[p] = picture->data[p];
    view.strides[p] = picture->linesize[p];
  }
  ReadMotionVectors(source, motion_vectors_);
  ReadBlockQp(source, block_qp_);
  view.motion_vectors = motion_vectors_;
  view.block_qp = block_qp_;
  return orientation.upright() ? view : Turn(view, orientation, turned_);
}

}  // namespace deltacnn
