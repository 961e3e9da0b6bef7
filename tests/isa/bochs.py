"""Runs a static x86-64 Linux program on a CPU that Bochs emulates, in this process.

    BOCHS_CPU=<factory> BOCHS_LIBRARY=<_bochscpu.so> LD_PRELOAD=preload.so \\
        python bochs.py boot.bin PROGRAM [ARGUMENT ...]

There is no operating system: boot.S is the guest's whole kernel, the system calls that a small C
program makes are answered here, and every address is its own physical one.  A page that is not
mapped, and an instruction that the CPU lacks, end the run as they would on hardware.
"""

import ctypes
import mmap
import os
import struct
import sys

import bochscpu
import bochscpu.cpu
import bochscpu.memory

PAGE = 4096
RAM = 512 << 20
BOOT, TABLES, MAPPED, STACK = 0x10000, 0x100000, 0x6000000, 1 << 20
SYSTEM_CALL = 0x40  # of boot.S
PRESENT = 3  # and writable
EINVAL, ENOSYS = 22, 38

EXCEPTIONS = {0: "division error", 6: "invalid instruction", 13: "general protection fault"}
EXCEPTIONS |= {14: "page fault", 16: "x87 exception", 19: "SIMD exception"}


def up(size: int) -> int:
    return -(-size // PAGE) * PAGE


class Machine:
    """Memory, and one program in it."""

    def __init__(self, boot: bytes):
        self.session = bochscpu.Session()  # before any page
        self.session.missing_page_handler = lambda page: self.stop(f"no memory at {page:#x}")
        self.memory = mmap.mmap(-1, RAM)
        host = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for page in range(0, RAM, PAGE):
            bochscpu.memory.page_insert(page, host + page)
        self.build_tables()
        self.write(BOOT, boot)
        self.map(BOOT, PAGE)
        self.mapped, self.free = MAPPED, {}
        self.status = None
        self.calls = {1: self.sys_write, 9: self.sys_mmap, 10: self.sys_mprotect}
        self.calls |= {11: self.sys_munmap, 12: self.sys_brk, 20: self.sys_writev}
        self.calls |= {60: self.sys_exit, 231: self.sys_exit}
        # rt_sigaction, rt_sigprocmask, set_tid_address, set_robust_list: nothing comes of them
        self.calls |= dict.fromkeys((13, 14, 218, 273), lambda *_: 0)

    def build_tables(self) -> None:
        """Four levels, the tables of the last one after each other."""
        top, second, third, last = (TABLES + i * PAGE for i in range(4))
        self.write(top, struct.pack("<Q", second | PRESENT))
        self.write(second, struct.pack("<Q", third | PRESENT))
        for i in range(RAM >> 21):
            self.write(third + 8 * i, struct.pack("<Q", last + i * PAGE | PRESENT))
        words = memoryview(self.memory).cast("Q")
        self.entries = words[last // 8 : (last // PAGE + (RAM >> 21)) * PAGE // 8]

    def write(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data

    def map(self, address: int, size: int, entry: int = PRESENT) -> None:
        for page in range(address // PAGE, up(address + size) // PAGE):
            self.entries[page] = page * PAGE | entry if entry else 0

    def load(self, path: str, arguments: list[str]) -> None:
        with open(path, "rb") as file:
            data = file.read()
        self.entry, headers = struct.unpack_from("<QQ", data, 24)
        size, count = struct.unpack_from("<HH", data, 54)
        end = 0
        for i in range(count):
            kind, _, at, address, _, in_file, in_memory, _ = struct.unpack_from(
                "<IIQQQQQQ", data, headers + i * size
            )
            if kind == 1:  # to be loaded
                self.map(address, in_memory)
                self.write(address, data[at : at + in_file])
                end = max(end, address + in_memory)
                if at == 0:
                    headers_address = address + headers
        self.heap = up(end)  # it only grows
        self.map(RAM - STACK, STACK)
        self.push_arguments([path, *arguments], [3, headers_address, 4, size, 5, count])

    def push_arguments(self, arguments: list[str], auxiliary: list[int]) -> None:
        """The stack of a new process: argc, argv, no environment, the auxiliary vector."""
        at, addresses = RAM - 64, []
        random = at
        for text in arguments:
            encoded = text.encode() + b"\0"
            at -= len(encoded)
            self.write(at, encoded)
            addresses.append(at)
        vector = [*auxiliary, 6, PAGE, 9, self.entry, 23, 0, 25, random, 0, 0]
        words = [len(arguments), *addresses, 0, 0, *vector]
        self.stack = (at - 8 * len(words)) & ~15
        self.write(self.stack, struct.pack(f"<{len(words)}Q", *words))

    # ---- system calls: an int, negative for an error --------------------------------------

    def sys_write(self, file: int, address: int, size: int, *_: int) -> int:
        os.write(file, self.memory[address : address + size])
        return size

    def sys_writev(self, file: int, address: int, count: int, *_: int) -> int:
        parts = struct.unpack_from(f"<{2 * count}Q", self.memory, address)
        return sum(map(self.sys_write, [file] * count, parts[::2], parts[1::2]))

    def sys_mmap(self, address: int, size: int, protection: int, flags: int, *_: int) -> int:
        size = up(size)
        if address or not flags & mmap.MAP_ANONYMOUS:
            return -EINVAL
        if self.free.get(size):
            address = self.free[size].pop()
            self.write(address, bytes(size))
        else:
            address = self.mapped
            self.mapped += size
            if self.mapped > RAM - STACK:
                raise MemoryError("the guest's memory is full")
        self.map(address, size, PRESENT if protection else 0)
        return address

    def sys_mprotect(self, address: int, size: int, protection: int, *_: int) -> int:
        self.map(address, size, PRESENT if protection else 0)
        return 0

    def sys_munmap(self, address: int, size: int, *_: int) -> int:
        self.map(address, size, 0)
        self.free.setdefault(up(size), []).append(address)
        return 0

    def sys_brk(self, address: int, *_: int) -> int:
        if self.heap <= address < MAPPED:
            self.map(up(self.heap), max(up(address) - up(self.heap), 0))
            self.heap = address
        return self.heap

    def sys_exit(self, status: int, *_: int) -> int:
        self.status = status & 0xFF
        self.session.stop()
        return 0

    # ---- running ----------------------------------------------------------------------------

    def on_call(self, session, *_) -> None:
        cpu = session.cpu
        try:
            call = self.calls.get(cpu.rax, lambda *_: -ENOSYS)
            result = call(cpu.rdi, cpu.rsi, cpu.rdx, cpu.r10, cpu.r8, cpu.r9)
            cpu.rax = result & (1 << 64) - 1
        except Exception as error:  # must not cross the emulator
            self.stop(f"system call {cpu.rax}: {error}")

    def on_exception(self, session, _cpu, vector, _error) -> None:
        cpu = session.cpu
        name = EXCEPTIONS.get(vector, f"exception {vector}")
        self.stop(f"{name} at {cpu.rip:#x}" + (f", address {cpu.cr2:#x}" if vector == 14 else ""))

    def stop(self, reason: str) -> None:
        print(reason, file=sys.stderr, flush=True)
        self.status = 128
        self.session.stop()

    def state(self) -> bochscpu.State:
        """Of the CPU in 64-bit mode and ring 0, at boot.S."""
        state = bochscpu.State()
        bochscpu.cpu.set_long_mode(state)
        state.cr0 = 0x80050033  # PG, AM, WP, NE, ET, MP, PE
        state.cr3 = TABLES
        state.cr4 = 0x50620  # OSXSAVE, FSGSBASE, OSXMMEXCPT, OSFXSR, PAE
        state.efer = 0xD01  # NXE, LMA, LME, SCE
        state.xcr0 = 1
        state.mxcsr, state.mxcsr_mask, state.fpcw = 0x1F80, 0xFFFF, 0x37F
        state.star, state.lstar, state.sfmask = 8 << 32, BOOT + SYSTEM_CALL, 0
        code, data = bochscpu.Segment(), bochscpu.Segment()
        for segment, selector, attributes in ((code, 8, 0xA09B), (data, 16, 0xC093)):
            segment.present, segment.base, segment.limit = True, 0, 0xFFFFFFFF
            segment.selector, segment.attr = selector, attributes
        state.cs = code
        state.ss = state.ds = state.es = state.fs = state.gs = data
        state.rip, state.rsp, state.r12, state.rflags = BOOT, self.stack, self.entry, 2
        return state

    def run(self) -> int:
        """The program's exit status, 128 after a fault."""
        self.session.cpu.state = self.state()
        hook = bochscpu.Hook()
        hook.clflush = self.on_call
        hook.exception = self.on_exception
        self.session.run([hook])
        return self.status


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        machine = Machine(file.read())
    machine.load(sys.argv[2], sys.argv[3:])
    status = machine.run()
    sys.stdout.flush()
    os._exit(status)  # the emulator has no orderly end
