/*
 * floor: the least program that makes a container as a runtime does of the config that `runc spec` writes, or of the one that
 * Docker writes for a plain container. It shows what the kernel's own work costs, so that one sees what a runtime adds.
 *
 *     floor [--docker FILTER] ROOTFS CGROUP PROGRAM [ARGUMENT...]
 *
 * FILTER holds the seccomp filter as the kernel takes it: an array of struct sock_filter. CGROUP, a path below /sys/fs/cgroup of
 * pure cgroup v2, is made and removed. ROOTFS has the directories dev, proc and sys. The exit status is the program's.
 *
 * The container is the same as that of a runtime, a test compares them: namespaces, mounts with all their options, devices and
 * the filter for them, links, masked and read-only paths, capabilities, seccomp, no_new_privs, limits, keyring, environment.
 * What is left out is what is not part of the container: reading config.json and judging it, the state, locks, the check that a
 * path leads where it should, errors that name the config field, and taking back what a failed start has made.
 *
 * Everything is done in the cheapest way that was found: constants instead of a config; mount(2), one call for a mount, instead
 * of four of the newer kind; mounts made after pivot_root, so that no path has to be looked up twice; masks copied from the
 * first one; clone3 that shares the memory, so that no page table is copied, straight into the cgroup; and the device filter
 * goes through the kernel's verifier while the container makes its mounts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MNT_DETACH 2
#define NO_SUID_EXEC_DEV (MS_NOSUID | MS_NOEXEC | MS_NODEV)

struct mounted {
	const char *source, *target, *type;
	unsigned long flags;
	const char *data;
};

/* In the order of the config. */
static const struct mounted default_mounts[] = {
	{ "proc", "/proc", "proc", 0, NULL },
	{ "tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k" },
	{ "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5" },
	{ "shm", "/dev/shm", "tmpfs", NO_SUID_EXEC_DEV, "mode=1777,size=65536k" },
	{ "mqueue", "/dev/mqueue", "mqueue", NO_SUID_EXEC_DEV, NULL },
	{ "sysfs", "/sys", "sysfs", NO_SUID_EXEC_DEV | MS_RDONLY, NULL },
	{ "cgroup", "/sys/fs/cgroup", "cgroup2", NO_SUID_EXEC_DEV | MS_RDONLY, NULL },
	{ 0 },
};

static const struct mounted docker_mounts[] = {
	{ "proc", "/proc", "proc", NO_SUID_EXEC_DEV, NULL },
	{ "tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k" },
	{ "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5" },
	{ "sysfs", "/sys", "sysfs", NO_SUID_EXEC_DEV | MS_RDONLY, NULL },
	{ "cgroup", "/sys/fs/cgroup", "cgroup2", NO_SUID_EXEC_DEV | MS_RDONLY, NULL },
	{ "mqueue", "/dev/mqueue", "mqueue", NO_SUID_EXEC_DEV, NULL },
	{ "shm", "/dev/shm", "tmpfs", NO_SUID_EXEC_DEV, "mode=1777,size=67108864" },
	{ 0 },
};

static const char *const read_only[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

struct masked {
	const char *path;
	int is_directory;
};

static const struct masked default_masks[] = {
	{ "/proc/acpi", 1 },	   { "/proc/asound", 1 },      { "/proc/kcore", 0 },	   { "/proc/keys", 0 },
	{ "/proc/latency_stats", 0 }, { "/proc/timer_list", 0 }, { "/proc/timer_stats", 0 }, { "/proc/sched_debug", 0 },
	{ "/sys/firmware", 1 },	   { "/proc/scsi", 1 },	       { 0 },
};

static const struct masked docker_masks[] = {
	{ "/proc/asound", 1 },	      { "/proc/acpi", 1 },	 { "/proc/interrupts", 0 },  { "/proc/kcore", 0 },
	{ "/proc/keys", 0 },	      { "/proc/latency_stats", 0 }, { "/proc/timer_list", 0 }, { "/proc/timer_stats", 0 },
	{ "/proc/sched_debug", 0 },   { "/proc/scsi", 1 },	 { "/sys/firmware", 1 },
	{ "/sys/devices/virtual/powercap", 1 }, { 0 },
};

static const struct {
	const char *path;
	unsigned major, minor;
} devices[] = {
	{ "/dev/null", 1, 3 },	 { "/dev/zero", 1, 5 },	   { "/dev/full", 1, 7 },
	{ "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 },
};

static const struct {
	const char *target, *path;
} links[] = {
	{ "/proc/self/fd", "/dev/fd" },		{ "/proc/self/fd/0", "/dev/stdin" },  { "/proc/self/fd/1", "/dev/stdout" },
	{ "/proc/self/fd/2", "/dev/stderr" }, { "pts/ptmx", "/dev/ptmx" },
};

/* Devices that may be opened, beside the pseudo-terminals (136:*); any node may be made. */
static const struct {
	unsigned char major, minor;
} allowed[] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 }, { 1, 9 }, { 5, 0 }, { 5, 2 }, { 10, 200 } };

/* What is different between the two configs. */
struct config {
	const struct mounted *mounts;
	const struct masked *masks;
	const char *hostname;
	uint64_t capabilities;
	char *environment[4];
};

static const struct config default_config = {
	default_mounts,
	default_masks,
	"corten",
	1ULL << CAP_AUDIT_WRITE | 1ULL << CAP_KILL | 1ULL << CAP_NET_BIND_SERVICE,
	{ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/" },
};

static const struct config docker_config = {
	docker_mounts,
	docker_masks,
	"e60eb6acc996",
	0xa80425fb,
	{ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=e60eb6acc996", "HOME=/" },
};

/* Both processes have the same memory until the container's executes the program. */
static const struct config *config = &default_config;
static struct sock_fprog seccomp_filter;
static char **program;
static const char *rootfs, *name;
static int devices_are_filtered;
static char stack[64 * 1024] __attribute__((aligned(16)));

/* errno is shared, too, so a message may have that of the other process if both fail at once. */
static void fail(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(125);
}

#define DO(call)                       \
	do {                           \
		if ((call) < 0)        \
			fail(#call);   \
	} while (0)

static int mount_at(const char *source, const char *target, const char *type, unsigned long flags, const void *data)
{
	return syscall(SYS_mount, source, target, type, flags, data);
}

static int set_read_only(int fd, const char *path, unsigned flags)
{
	struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
	return syscall(SYS_mount_setattr, fd, path, flags, &attributes, sizeof attributes);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail(path);
	close(fd);
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	DO(fd);
	DO(ioctl(fd, SIOCSIFFLAGS, &request));
	close(fd);
}

/* Files are hidden under the host's null device, directories under an empty filesystem; the first of each is copied. */
static void mask_paths(int null)
{
	const char *first_file = NULL, *first_directory = NULL;
	const struct masked *mask;
	for (mask = config->masks; mask->path; mask++) {
		const char **first = mask->is_directory ? &first_directory : &first_file;
		long done;
		if (*first)
			done = mount_at(*first, mask->path, NULL, MS_BIND, NULL);
		else if (mask->is_directory)
			done = mount_at("tmpfs", mask->path, "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1");
		else
			done = syscall(SYS_move_mount, null, "", AT_FDCWD, mask->path, MOVE_MOUNT_F_EMPTY_PATH);
		if (done < 0 && errno != ENOENT)
			fail(mask->path);
		if (done == 0 && !*first)
			*first = mask->path;
	}
}

static void make_mounts(void)
{
	const struct mounted *mount;
	const char *const *path;
	unsigned i;
	int null;

	DO(mount_at(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	DO(mount_at(rootfs, rootfs, NULL, MS_REC | MS_BIND, NULL));
	DO(null = syscall(SYS_open_tree, AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
	DO(set_read_only(null, "", AT_EMPTY_PATH));
	DO(chdir(rootfs));
	DO(syscall(SYS_pivot_root, ".", "."));
	DO(syscall(SYS_umount2, ".", MNT_DETACH));

	umask(0);
	for (mount = config->mounts; mount->source; mount++) {
		int below_dev = strncmp(mount->target, "/dev/", 5) == 0;
		if (below_dev)
			DO(mkdir(mount->target, 0755));
		if (mount_at(mount->source, mount->target, mount->type, mount->flags, mount->data) < 0)
			fail(mount->target);
	}
	for (i = 0; i < sizeof devices / sizeof *devices; i++)
		DO(mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
	for (i = 0; i < sizeof links / sizeof *links; i++)
		DO(symlink(links[i].target, links[i].path));
	umask(022);

	if (config == &docker_config) {
		write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
		write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
		write_file("/proc/self/oom_score_adj", "0");
	}
	for (path = read_only; *path; path++) {
		long done = mount_at(*path, *path, NULL, MS_BIND | MS_REC, NULL);
		if (done < 0 && errno != ENOENT)
			fail(*path);
		if (done == 0)
			DO(set_read_only(AT_FDCWD, *path, 0));
	}
	mask_paths(null);
	if (config == &default_config)
		DO(set_read_only(AT_FDCWD, "/", 0));
}

static void new_keyring(void)
{
	char label[300] = "_ses.";
	long keyring;
	strncat(label, name, 255);
	keyring = syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, label);
	DO(keyring);
	DO(syscall(SYS_keyctl, 5 /* KEYCTL_SETPERM */, keyring, 0x3f1b0000));
}

static void drop_privileges(void)
{
	static const unsigned long all_cpus[128] = { [0 ... 127] = -1UL };
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = { 0 };
	uint64_t keep = config->capabilities;
	gid_t group = 0;
	int i;

	DO(syscall(SYS_sched_setaffinity, 0, sizeof all_cpus, all_cpus));
	if (config == &default_config) {
		struct rlimit files = { 1024, 1024 };
		DO(setrlimit(RLIMIT_NOFILE, &files));
	}
	DO(syscall(SYS_setgroups, config == &docker_config ? 1 : 0, &group));
	for (i = 0; i <= CAP_LAST_CAP; i++)
		if (!(keep >> i & 1))
			DO(prctl(PR_CAPBSET_DROP, i, 0, 0, 0));
	if (config == &default_config)
		DO(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	else
		DO(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &seccomp_filter));
	for (i = 0; i < 2; i++)
		sets[i].effective = sets[i].permitted = keep >> 32 * i;
	DO(syscall(SYS_capset, &header, sets));
}

/* The container's first process, until it executes the program. */
static void container(void)
{
	/* Not by clone3: the root of the namespace would be the cgroup of the parent. */
	DO(syscall(SYS_unshare, CLONE_NEWCGROUP));
	DO(setsid());
	loopback_up();
	make_mounts();
	DO(sethostname(config->hostname, strlen(config->hostname)));
	new_keyring();
	DO(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
	drop_privileges();
	while (!__atomic_load_n(&devices_are_filtered, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, &devices_are_filtered, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	execve(program[0], program, config->environment);
	fail(program[0]);
}

/* clone3 with a stack of the child's own: no function of libc does it, and the child must not return. */
static long spawn(struct clone_args *args)
{
	args->stack = (uintptr_t)stack;
	args->stack_size = sizeof stack;
#if defined __x86_64__
	long result = SYS_clone3;
	__asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\txor %%ebp, %%ebp\n\tcall *%[run]\n\thlt\n1:"
			 : "+a"(result)
			 : "D"(args), "S"(sizeof *args), [run] "b"(container)
			 : "rcx", "r11", "memory");
	return result;
#elif defined __aarch64__
	register long x0 __asm__("x0") = (long)args;
	register long x1 __asm__("x1") = sizeof *args;
	register long x8 __asm__("x8") = SYS_clone3;
	register void (*x9)(void) __asm__("x9") = container;
	__asm__ volatile("svc #0\n\tcbnz x0, 1f\n\tmov x29, #0\n\tblr x9\n\tbrk #0\n1:"
			 : "+r"(x0) : "r"(x1), "r"(x8), "r"(x9) : "memory");
	return x0;
#else
#error "clone3 has to be written for this processor"
#endif
}

#define INSTRUCTION(CODE, TO, FROM, OFFSET, NUMBER) \
	((struct bpf_insn){ .code = CODE, .dst_reg = TO, .src_reg = FROM, .off = OFFSET, .imm = NUMBER })

/* Loads the filter for devices: r2 is what is asked for, r3 the kind, r4 and r5 are the numbers; 1 says yes. */
static void filter_devices(int cgroup)
{
	enum { COUNT = sizeof allowed / sizeof *allowed };
	struct bpf_insn code[32];
	union bpf_attr attributes;
	int n = 0, i, loaded;

	code[n++] = INSTRUCTION(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
	code[n++] = INSTRUCTION(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
	code[n++] = INSTRUCTION(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
	code[n++] = INSTRUCTION(BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0);
	code[n++] = INSTRUCTION(BPF_ALU | BPF_AND | BPF_K, 3, 0, 0, 0xffff);
	code[n++] = INSTRUCTION(BPF_ALU | BPF_RSH | BPF_K, 2, 0, 0, 16);
	code[n++] = INSTRUCTION(BPF_ALU | BPF_MOV | BPF_K, 0, 0, 0, 1);
	/* Making a node is all that is asked for. */
	code[n++] = INSTRUCTION(BPF_JMP32 | BPF_JNE | BPF_K, 2, 0, 1, BPF_DEVCG_ACC_MKNOD);
	code[n++] = INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	/* A block device: to the `no` at the end. */
	code[n++] = INSTRUCTION(BPF_JMP32 | BPF_JNE | BPF_K, 3, 0, 2 * COUNT + 1, BPF_DEVCG_DEV_CHAR);
	code[n++] = INSTRUCTION(BPF_JMP32 | BPF_JEQ | BPF_K, 4, 0, 2 * COUNT + 1, 136);
	for (i = 0; i < COUNT; i++) {
		code[n++] = INSTRUCTION(BPF_JMP32 | BPF_JNE | BPF_K, 4, 0, 1, allowed[i].major);
		code[n++] = INSTRUCTION(BPF_JMP32 | BPF_JEQ | BPF_K, 5, 0, 2 * (COUNT - i - 1) + 1, allowed[i].minor);
	}
	code[n++] = INSTRUCTION(BPF_ALU | BPF_MOV | BPF_K, 0, 0, 0, 0);
	code[n++] = INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

	memset(&attributes, 0, sizeof attributes);
	attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attributes.insns = (uintptr_t)code;
	attributes.insn_cnt = n;
	attributes.license = (uintptr_t) "";
	loaded = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
	DO(loaded);
	memset(&attributes, 0, sizeof attributes);
	attributes.target_fd = cgroup;
	attributes.attach_bpf_fd = loaded;
	attributes.attach_type = BPF_CGROUP_DEVICE;
	attributes.attach_flags = BPF_F_ALLOW_MULTI;
	DO(syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof attributes));
}

static void read_filter(const char *path)
{
	static struct sock_filter code[BPF_MAXINSNS];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, code, sizeof code);
	if (length <= 0)
		fail(path);
	close(fd);
	seccomp_filter.filter = code;
	seccomp_filter.len = length / sizeof *code;
}

int main(int argc, char **argv)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	const char *cgroup;
	int fd, status;
	long pid;

	if (argc > 2 && strcmp(argv[1], "--docker") == 0) {
		config = &docker_config;
		read_filter(argv[2]);
		argv += 2;
		argc -= 2;
	}
	if (argc < 4) {
		fprintf(stderr, "usage: floor [--docker FILTER] ROOTFS CGROUP PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	rootfs = argv[1];
	cgroup = argv[2];
	name = strrchr(cgroup, '/') ? strrchr(cgroup, '/') + 1 : cgroup;
	program = argv + 3;

	DO(mkdir(cgroup, 0755));
	DO(fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	args.cgroup = fd;
	args.flags = CLONE_VM | CLONE_INTO_CGROUP | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	pid = spawn(&args);
	DO(pid);
	filter_devices(fd);
	__atomic_store_n(&devices_are_filtered, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &devices_are_filtered, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	DO(waitpid(pid, &status, 0));
	DO(rmdir(cgroup));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
