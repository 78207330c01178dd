"""A client of a share through pyopencl: the same roles as the one in Rust (mod.rs)."""

import os
import sys

import numpy
import pyopencl as cl

PIECE = 8 << 20


def say(word):
    print(f"client:{word}", flush=True)


def attempt(make):
    """What the client in Rust prints: a result, or the error's code."""
    try:
        return make(), "Ok(())"
    except cl.Error as error:
        return None, f"Err({error.code})"


def fill(context, piece):
    held = []
    while True:
        one, result = attempt(lambda: cl.Buffer(context, cl.mem_flags.READ_WRITE, piece))
        if one is None:
            break
        held.append(one)
    say(f"{len(held) * piece} {result[4:-1]}")
    sys.stdin.readline()
    held.pop().release()
    again = [attempt(lambda: cl.Buffer(context, cl.mem_flags.READ_WRITE, piece)) for _ in range(2)]
    say("Ok(false)" if [one is None for one, _ in again] == [False, True] else repr(again))
    sys.stdin.readline()


def rows(context, most):
    read_write = cl.mem_flags.READ_WRITE
    rgba = cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.UNSIGNED_INT8)
    ways = {
        "buffer": lambda size: cl.Buffer(context, read_write, size),
        "image": lambda size: cl.create_image(context, read_write, rgba, shape=(1024, size // 4096)),
        "shared": lambda size: cl.SVMAllocation(context, size, 0, cl.svm_mem_flags.READ_WRITE),
    }
    for name, make in list(ways.items())[: most or None]:
        one = make(PIECE)
        say(name)
        sys.stdin.readline()
        one.release()
        say(attempt(lambda: make(1 << 30))[1])
        sys.stdin.readline()


def sizes(context):
    device = context.devices[0]
    say(f"{device.global_mem_size} {device.max_mem_alloc_size}")


def copies(context):
    """Every command that moves data, each checked by what it moved."""
    queue = cl.CommandQueue(context)
    data = numpy.arange(1 << 16, dtype=numpy.uint32)
    one, other = (cl.Buffer(context, cl.mem_flags.READ_WRITE, data.nbytes) for _ in range(2))
    back = numpy.zeros_like(data)
    cl.enqueue_copy(queue, one, data)
    cl.enqueue_copy(queue, other, one)
    cl.enqueue_copy(queue, back, other)
    assert (back == data).all()
    cl.enqueue_fill_buffer(queue, one, numpy.uint32(7), 0, data.nbytes)
    cl.enqueue_copy(queue, back, one)
    assert (back == 7).all()
    rectangle = {"buffer_origin": (0, 0), "host_origin": (0, 0), "region": (1024, 256)}
    cl.enqueue_copy(queue, one, data, **rectangle)
    cl.enqueue_copy(queue, back, one, **rectangle)
    assert (back == data).all()
    cl.enqueue_copy(queue, other, one, src_origin=(0, 0), dst_origin=(0, 0), region=(1024, 256))
    rgba = cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.UNSIGNED_INT8)
    images = [cl.create_image(context, cl.mem_flags.READ_WRITE, rgba, shape=(256, 256)) for _ in range(2)]
    whole = {"origin": (0, 0), "region": (256, 256)}
    cl.enqueue_copy(queue, images[0], data, **whole)
    cl.enqueue_copy(queue, images[1], images[0], src_origin=(0, 0), dest_origin=(0, 0), region=(256, 256))
    cl.enqueue_copy(queue, one, images[1], offset=0, **whole)
    cl.enqueue_copy(queue, images[0], one, offset=0, **whole)
    cl.enqueue_copy(queue, back, images[0], **whole)
    assert (back == data).all()
    cl.enqueue_fill_image(queue, images[0], numpy.array([1, 0, 0, 0], dtype=numpy.uint32), **whole)
    cl.enqueue_migrate_mem_objects(queue, [one])
    queue.finish()
    say("done")


def main():
    name, _, number = os.environ["POND_CLIENT_ROLE"].partition(" ")
    device = cl.get_platforms()[0].get_devices()[0]
    context = cl.Context([device])
    {
        "fill": lambda: fill(context, int(number)),
        "rows": lambda: rows(context, int(number or 0)),
        "sizes": lambda: sizes(context),
        "copies": lambda: copies(context),
    }[name]()


main()
