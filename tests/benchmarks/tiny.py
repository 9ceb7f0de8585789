"""Options that make the benchmark's recipes small enough for a test."""

TINY = [
    *("MODEL.ENCODER.WIDTH", 32, "MODEL.ENCODER.DEPTH", 2, "MODEL.ENCODER.HEADS", 2),
    *("MODEL.DECODER.WIDTH", 32, "MODEL.DECODER.DEPTH", 2, "MODEL.DECODER.HEADS", 2),
    *("DATA.SIZE", "32,32", "DATA.NUM_FRAMES", 4, "TRAIN.BATCH_SIZE", 1, "MASK.RATIO", 0.75),
]
