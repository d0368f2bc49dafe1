# The kernels of an instruction set and type, and what the core knows of its losses.


def isas():
    """Names of the compiled instruction sets that this machine supports, best last."""
    names, i = [], 0
    while fsgd_isas()[i] != NULL:
        if fsgd_isa_supported(fsgd_isas()[i]):
            names.append(fsgd_isas()[i].decode())
        i += 1
    return tuple(names)


cdef const fsgd_kernels *kernels_for(name, fsgd_dtype dtype) except NULL:
    """The kernels of a name for a type; of FASTSGD_ISA, or the machine's best, for None."""
    cdef const fsgd_kernels *kernels
    asked = name if name is not None else os.environ.get("FASTSGD_ISA") or None
    if asked is None:
        kernels = fsgd_kernels_for(NULL, dtype)
    else:
        kernels = fsgd_kernels_for(asked.encode(), dtype)
    if kernels == NULL:
        source = "FASTSGD_ISA" if name is None else "isa"
        raise ValueError(
            f"{source}={asked!r} is not an instruction set of this build and machine; "
            f"there are {', '.join(isas())}"
        )
    return kernels


cdef const fsgd_network_kernels *network_kernels_for(name, fsgd_dtype dtype) except NULL:
    """The kernels of the same instruction set as ``kernels_for``."""
    return fsgd_network_kernels_for(kernels_for(name, dtype).isa, dtype)


def isa():
    """The instruction set in use: FASTSGD_ISA, or the best of this machine."""
    return kernels_for(None, FSGD_FLOAT32).isa.decode()


def compiler():
    """See _core.pyi."""
    return fsgd_compiler.decode().strip()


def loss_infos():
    """What the core knows of its losses, in its order: (name, smoothness, infimum, targets, coupled)."""
    cdef fsgd_loss_info info
    cdef int i
    infos = []
    for i in range(<int>FSGD_N_LOSSES):
        info = fsgd_losses[i]
        targets = {"real"} if info.takes_real else set()
        targets |= {"sign"} if info.takes_sign else set()
        targets |= {"count"} if info.takes_count else set()
        infos.append((
            info.name.decode(), info.smoothness, info.infimum, frozenset(targets), bool(info.coupled)
        ))
    return tuple(infos)


cdef fsgd_loss_spec loss_spec(loss, double parameter):
    """The loss of a name, or a user's own, for the core."""
    cdef fsgd_loss_spec spec
    spec.kind, spec.parameter = FSGD_COMPILED, parameter
    spec.value = spec.slope = NULL
    if isinstance(loss, CompiledLoss):
        spec.value = <fsgd_loss_function><uintptr_t>loss.value_address
        spec.slope = <fsgd_loss_function><uintptr_t>loss.slope_address
    else:
        spec.kind = <fsgd_loss><int>list(LOSSES).index(loss)
    return spec


def loss_at(loss, z, y, *, parameter=0.1, slope=False, isa=None):
    """Value or slope of an uncoupled loss, elementwise over two arrays of one dtype, by the core."""
    cdef fsgd_loss_spec spec = loss_spec(loss, parameter)
    if spec.kind == FSGD_SOFTMAX:
        raise ValueError("loss must be of single scores, got 'softmax', which couples those of a row")
    z = np.ascontiguousarray(z)
    y = np.ascontiguousarray(y, dtype=z.dtype)
    if z.shape != y.shape or z.dtype not in (np.float32, np.float64):
        raise ValueError(f"z and y must be float32 or float64 of one shape, got {z.shape}, {y.shape}")
    out = np.empty_like(z)
    kernels_for(isa, dtype_code(z.dtype)).loss(
        &spec, slope, z.size, pointer(z), pointer(y), pointer(out)
    )
    return out
