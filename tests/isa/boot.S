// What a program started by bochs.py finds instead of an operating system: registers as Linux
// hands them over, and system calls, which go to Python.  Everything runs in ring 0.

        .text
// Saves what the CPU has of the register states that Linux enables, then enters the program
// whose address is in %r12.
start:
        mov $0xd, %eax
        xor %ecx, %ecx
        cpuid
        and $0xe7, %eax                 // x87, SSE, AVX, AVX-512
        xor %edx, %edx
        xor %ecx, %ecx
        xsetbv
        xor %eax, %eax
        xor %ebx, %ebx
        jmp *%r12

        .org 0x40
// Linux clobbers only %rcx and %r11.  The base of %fs, arch_prctl(ARCH_SET_FS), is set here; all
// else is done by bochs.py, which waits for a clflush.  It may have changed page tables: writing
// CR3 tells the CPU.
system_call:
        cmp $158, %rax
        jne call
        cmp $0x1002, %rdi
        jne call
        wrfsbase %rsi
        xor %eax, %eax
        jmp *%rcx
call:
        clflush (%rsp)
        mov %cr3, %r11
        mov %r11, %cr3
        jmp *%rcx
