"""The loss scale of fp16, which no engine on a CPU has: with DeepSpeed's own scalers of each stage."""

from types import SimpleNamespace

import torch
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaleConfig, LossScaleProfile

from diffmae_video.training.sharded_state import loss_scale, set_loss_scale


def engine_with(**scaler):
    return SimpleNamespace(fp16_enabled=lambda: True, optimizer=SimpleNamespace(**scaler))


def test_a_loss_scale_goes_on_at_another_stage():
    scaler = DynamicLossScaler(2.0**16, 1000, 1.0, 2, False)
    scaler.cur_scale, scaler.last_overflow_iter, scaler.cur_hysteresis = 2.0**14, 2, 1
    for _ in range(4):
        scaler.update_scale(False)
    zero = engine_with(loss_scaler=scaler)
    unfused = LossScaleProfile.UNFUSED
    stage_0 = engine_with(loss_scale_config=LossScaleConfig(torch.float16, True, 0, None, profile=unfused))
    expected = {"cur_scale": 2.0**14, "cur_iter": 4, "last_overflow_iter": 2}
    assert loss_scale(zero) == {**expected, "cur_hysteresis": 1}
    set_loss_scale(stage_0, loss_scale(zero))
    assert loss_scale(stage_0) == expected

    plain = SimpleNamespace(fp16_enabled=lambda: False, optimizer=None)
    set_loss_scale(plain, expected)
    assert loss_scale(plain) == {}
