"""The file name endings that count as videos and as pictures; every tool goes by these two lists."""

from pathlib import Path

VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob"),
    *(".wmv", ".asf", ".flv", ".3gp", ".3g2", ".ogv", ".mxf", ".gif", ".apng"),
)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def is_video_name(path: str | Path) -> bool:
    """Whether a file name ends as a video's does, in upper or lower case."""
    return Path(path).suffix.lower() in VIDEO_ENDINGS


def is_image_name(path: str | Path) -> bool:
    """Whether a file name ends as a picture's does, in upper or lower case."""
    return Path(path).suffix.lower() in IMAGE_ENDINGS
