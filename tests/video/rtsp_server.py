#!/usr/bin/python3
"""RTSP server for the tests: a moving test pattern on 127.0.0.1, without end.

Needs GStreamer's RTSP server with its Python bindings (Debian: gir1.2-gst-rtsp-server-1.0,
python3-gi, gstreamer1.0-plugins-base, -good, -bad, -ugly, gstreamer1.0-libav). Exits with 77 where
something is missing, prints "ready" once it listens.
"""

from __future__ import annotations

import argparse
import sys

SKIPPED = 77

# Encoder element, its settings, payloader.
ENCODERS: list[tuple[str, str, str]] = [
    ("x264enc", "tune=zerolatency key-int-max=10 bitrate=500 threads=1", "rtph264pay"),
    ("openh264enc", "gop-size=10", "rtph264pay"),
    ("avenc_mpeg4", "gop-size=10", "rtpmp4vpay"),
    ("jpegenc", "", "rtpjpegpay"),
]


def skip(reason: str) -> None:
    print(reason, file=sys.stderr)
    sys.exit(SKIPPED)


try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
except (ImportError, ValueError) as error:
    skip(f"no GStreamer RTSP server: {error}")


def pipeline(width: int, height: int) -> str:
    for encoder, settings, payloader in ENCODERS:
        if Gst.ElementFactory.find(encoder) and Gst.ElementFactory.find(payloader):
            return (
                "( videotestsrc is-live=true pattern=ball "
                f"! video/x-raw,format=I420,width={width},height={height},framerate=25/1 "
                f"! {encoder} {settings} ! {payloader} name=pay0 pt=96 )"
            )
    skip("no GStreamer encoder with a payloader")
    return ""


def require_password(
    server: GstRtspServer.RTSPServer,
    factory: GstRtspServer.RTSPMediaFactory,
    user: str,
    password: str,
) -> None:
    permissions = GstRtspServer.RTSPPermissions()
    role = Gst.Structure.new_empty(user)
    role.set_value("media.factory.access", True)
    role.set_value("media.factory.construct", True)
    permissions.add_role_from_structure(role)
    factory.set_permissions(permissions)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", user)
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", required=True)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--height", type=int, default=96)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    arguments = parser.parse_args()

    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline(arguments.width, arguments.height))
    factory.set_shared(True)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(arguments.port)
    if arguments.user:
        require_password(server, factory, arguments.user, arguments.password)
    server.get_mount_points().add_factory("/cam", factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on port {arguments.port}")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
