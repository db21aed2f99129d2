"""A GPU that is none: tensors that torch takes for a device's, with their numbers in the host's memory.

What would fail on a real one fails here: an operation on tensors of both sides, a generator of the other side, and
under `torch.use_deterministic_algorithms` an operation without a deterministic kernel. Copies to the host and other
operations that wait for the device are counted.

Registering the device changes the process for good, so its tests run in one of their own.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest import mock

import torch
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from rtp.modules.unroll.step.saved_activations import SavedActivations

_setup_privateuseone_for_python_backend("pretended")
GPU = torch.device("pretended:0")

aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default, aten._unique2.default, aten.masked_select.default}
"""Operations of CUDA that wait for the result: their result is a number or has a size that depends on numbers."""
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
"""Operations of CUDA that take indices from the host's memory, too."""
NOT_DETERMINISTIC = {
    aten.grid_sampler_2d_backward.default,
    aten.upsample_bilinear2d_backward.default,
    aten._adaptive_avg_pool2d_backward.default,
    aten.adaptive_max_pool2d_backward.default,
    aten.bincount.default,
    aten.histc.default,
    aten.kthvalue.default,
    aten.median.dim,
}
"""Operations of CUDA that `torch.use_deterministic_algorithms` refuses, as its documentation lists them."""

COUNTS: Counter[str] = Counter()
"""Operations on the device, and those that wait for it ("waits")."""


PROBLEMS: list[str] = []
"""What was refused in another thread, raised at the end of `pretended_gpu`."""


class DeviceTensor(Tensor):
    """A tensor of the device, whose numbers are in `host`."""

    host: Tensor
    is_cuda = property(lambda self: True)
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: type["DeviceTensor"], host: Tensor) -> "DeviceTensor":
        return torch.Tensor._make_wrapper_subclass(
            cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype, device=GPU
        )

    def __init__(self, host: Tensor) -> None:
        self.host = host

    def __repr__(self) -> str:  # type: ignore[override]
        return f"DeviceTensor({self.host})"

    def tolist(self) -> Any:
        COUNTS["waits"] += 1
        return self.host.tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.host.__reduce_ex__(protocol)  # a file's tensors are loaded into the host's memory

    def __deepcopy__(self, memo: dict[int, Any]) -> "DeviceTensor":
        if id(self) not in memo:
            memo[id(self)] = DeviceTensor(self.host.clone()).requires_grad_(self.requires_grad)
        copied: DeviceTensor = memo[id(self)]
        return copied

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError("a tensor of a device has no numpy array: copy it to the host first")
        COUNTS["waits"] += 1
        return self.host.detach().numpy()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})


class Generator(torch.Generator):
    """A generator that knows which side it is on: random numbers of the device are drawn in the host's memory."""

    on_device: ClassVar[set[int]] = set()
    kept: ClassVar[list[torch.Generator]] = []
    """Alive, so that no other one gets the same address."""

    def __new__(cls, device: Any = "cpu") -> "Generator":
        made = super().__new__(cls)
        cls.kept.append(made)
        if _is_ours(device):
            cls.on_device.add(made._cdata)  # type: ignore[attr-defined]
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass


class Pretending(TorchDispatchMode):
    """Within it, tensors can be made on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _is_ours(device: Any) -> bool:
    return torch.device(device).type in (GPU.type, "privateuseone")


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    device = kwargs.get("device")
    on_device = bool(ours) if device is None else _is_ours(device)
    _refuse_a_mix(func, args, kwargs, tensors, on_device)
    if ours and torch.are_deterministic_algorithms_enabled() and func in NOT_DETERMINISTIC:
        _refuse(f"{func} does not have a deterministic implementation")
    COUNTS["operations"] += on_device
    to_host = func is aten.copy_.default and not isinstance(args[0], DeviceTensor)
    COUNTS["waits"] += bool(ours) and (func in WAITS or to_host or (func in COPIES and not on_device))

    kept = {name: value for name, value in kwargs.items() if name not in ("device", "pin_memory", "non_blocking")}
    if device is not None and not on_device:
        kept["device"] = device
    plain_args, plain_kwargs = pytree.tree_map_only(DeviceTensor, lambda tensor: tensor.host, (args, kept))
    result = func(*plain_args, **plain_kwargs)
    if func is aten.copy_.default:
        return args[0]
    if not on_device:
        return result
    known = {id(tensor.host): tensor for tensor in ours}  # what is changed in place stays the same tensor

    def wrapped(tensor: Tensor) -> Tensor:
        return known[id(tensor)] if id(tensor) in known else DeviceTensor(tensor)

    return pytree.tree_map_only(Tensor, wrapped, result)


def _refuse_a_mix(func: Any, args: tuple[Any, ...], kwargs: Any, tensors: list[Tensor], on_device: bool) -> None:
    ours = any(isinstance(tensor, DeviceTensor) for tensor in tensors)
    hosts = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor) and tensor.dim()]  # scalars may mix
    if func in INDEXED and isinstance(args[0], DeviceTensor):
        hosts = [tensor for tensor in hosts if not any(tensor is index for index in args[1])]
    if ours and hosts and func not in COPIES:
        _refuse(f"{func}: a tensor of {GPU} with one of the host, of shape {tuple(hosts[0].shape)}")
    generator = kwargs.get("generator")
    if generator is not None and (generator._cdata in Generator.on_device) != on_device:
        _refuse(f"{func}: the generator and the numbers are on two devices")


def _refuse(problem: str) -> None:
    if threading.current_thread() is threading.main_thread():
        raise RuntimeError(problem)
    PROBLEMS.append(problem)  # in the thread of a backward pass an error would end the process without a word


class PretendedAccelerator(Accelerator):
    """Lightning's view of the device."""

    def setup_device(self, device: torch.device) -> None:
        """Nothing is to be set up."""

    def teardown(self) -> None:
        """Nothing is to be given back."""

    @staticmethod
    def parse_devices(devices: Any) -> int:
        return 1

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [GPU]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "pretended"


_split = SavedActivations._split


def _traced_on_the_host(self: SavedActivations, *arguments: Tensor) -> Any:
    """`SavedActivations._split`: make_fx can't trace a tensor of the device, but the graph can make some there."""
    with _disable_current_modes():
        halves = _split(self, *(tensor.host if isinstance(tensor, DeviceTensor) else tensor for tensor in arguments))
    half: Any
    for half in halves[:2]:
        for node in half.graph.nodes:
            if "device" in node.kwargs:
                node.kwargs = node.kwargs | {"device": GPU}
        half.recompile()
    return halves


AcceleratorRegistry.register("pretended", PretendedAccelerator)


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """The device; its counts start from 0."""
    # torch.cuda answers for the real device alone
    stand_ins: dict[str, Callable[..., Any]] = {
        "rtp.modules.unroll.stepwise.free_memory": lambda device: 10**12,
        "rtp.modules.unroll.stepwise.draws_random_numbers": lambda network, images: False,
        "rtp.modules.unroll.step.saved_activations.SavedActivations._split": _traced_on_the_host,
        "torch.Generator": Generator,
    }
    patches = [mock.patch(name, new) for name, new in stand_ins.items()]
    for patch in patches:
        patch.start()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(3, device=...) is made in the host's memory and copied
    COUNTS.clear()
    try:
        with Pretending():  # type: ignore[no-untyped-call]
            yield GPU
        if PROBLEMS:
            raise RuntimeError("in a backward pass: " + "; ".join(PROBLEMS))
    finally:
        PROBLEMS.clear()
        torch._C._set_only_lift_cpu_tensors(False)
        for patch in patches:
            patch.stop()
