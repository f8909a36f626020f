/* The board mps2-an500 (Cortex-M7), emulated by qemu: its start, and semihosting for the text. */
#include <stddef.h>
#include <stdint.h>

extern uint32_t data_start[], data_end[], data_in_flash[], bss_start[], bss_end[], stack_top[];

int main(void);
void board_exit(int failed);

/* Asks the debugger for something; a board without one stops here. */
static uintptr_t semihost(uintptr_t what, const void *with)
{
    register uintptr_t r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = with;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_write(const char *text, size_t size)
{
    char part[64];
    size_t n = 0;
    while (size-- > 0) {
        part[n++] = *text++;
        if (n == sizeof part - 1 || size == 0) {
            part[n] = 0;
            semihost(4, part); /* SYS_WRITE0 */
            n = 0;
        }
    }
}

void board_exit(int failed)
{
    /* SYS_EXIT: the program has ended, or met an error. */
    semihost(0x18, (const void *)(uintptr_t)(failed ? 0x20023 : 0x20026));
    for (;;) { }
}

static void fault(void) { board_exit(1); }

static void reset(void)
{
    uint32_t *to, *from = data_in_flash;
    *(volatile uint32_t *)0xe000ed88 |= 0xf << 20; /* CPACR: the FPU is on */
    __asm__ volatile("dsb\nisb" ::: "memory");
    for (to = data_start; to < data_end; to++) *to = *from++;
    for (to = bss_start; to < bss_end; to++) *to = 0;
    main();
}

/* The first word is the stack, the others are reset, NMI and the faults. */
__attribute__((section(".vectors"), used)) void (*const vectors[])(void) = {
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault,
};
