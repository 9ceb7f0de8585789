"""Float32 copies of a bf16 model's weights, which the optimizer updates in place of the weights themselves.

DeepSpeed's own optimizer for bf16 at ZeRO stage 0 handles parameters one at a time: thousands of operations
and a read from the device for each parameter. Here a step is a few operations on lists of tensors.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

ALIGNMENT = 64  # elements; kernels read aligned tensors faster


class Float32Masters:
    """The float32 masters of a model, for a process that holds all weights.

    Takes the model's place in the optimizer, and turns its weights into bf16. Buffers stay as they are, as at
    the other ZeRO stages.

    Args:
        model: in float32, the same on all processes.
        optimizer: of the model's parameters; it has no state yet.
        reduce_in: the precision in which gradients are summed over the processes.

    Attributes:
        of: the master of each trained parameter.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, reduce_in: torch.dtype) -> None:
        self.of: dict[nn.Parameter, nn.Parameter] = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self.of[parameter] = nn.Parameter(parameter.detach().clone())
            group["params"][:] = [self.of[parameter] for parameter in group["params"]]
        self.reduce_in = reduce_in
        self.offsets, self.count = [], 0
        for parameter in self.of:
            self.offsets.append(self.count)
            self.count += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
        for parameter in model.parameters():
            parameter.data = parameter.data.bfloat16()

    @torch.no_grad()
    def take_gradients(self, clip_norm: float) -> Tensor:
        """Gives the masters the mean over all processes of the model's gradients.

        Args:
            clip_norm: largest norm of the gradient; 0 does not clip.

        Returns:
            The gradient's norm before clipping: a scalar, the same on all processes. It is not finite if a
            gradient is not.
        """
        world = dist.get_world_size()
        device = next(iter(self.of)).device
        flat = torch.zeros(self.count, dtype=self.reduce_in if world > 1 else torch.float32, device=device)
        pieces = self._pieces(flat)
        # A parameter that did not take part in the step has a gradient of 0.
        present = [(piece, p.grad) for piece, p in zip(pieces, self.of, strict=True) if p.grad is not None]
        torch._foreach_copy_([piece for piece, _ in present], [gradient for _, gradient in present])
        if world > 1:
            dist.all_reduce(flat)
            flat = flat.float().div_(world)
            pieces = self._pieces(flat)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(pieces)))
        if clip_norm:
            flat *= (clip_norm / (norm + 1e-6)).clamp(max=1.0)
        for master, piece in zip(self.of.values(), pieces, strict=True):
            master.grad = piece
        return norm

    def _pieces(self, flat: Tensor) -> list[Tensor]:
        """The part of each parameter, in the parameter's shape."""
        return [
            flat.as_strided(parameter.shape, parameter.stride(), offset)
            for parameter, offset in zip(self.of, self.offsets, strict=True)
        ]

    @torch.no_grad()
    def publish(self) -> None:
        """Copies the masters into the model's weights, and drops their gradients."""
        torch._foreach_copy_(list(self.of), list(self.of.values()))
        for master in self.of.values():
            master.grad = None
