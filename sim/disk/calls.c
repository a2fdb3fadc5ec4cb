/*
 * Stands between this program and the C library's file calls, for files below the folders it was told of: it notes what
 * would change the disk, in the order in which it happens, and makes single calls fail as told. SQLite's own unix layer
 * and Rust's std call it without knowing. Everything else goes through untouched.
 *
 * It is told, and asked, through files that do not exist: a program that opens "/sealpost-sim" gets a disk of its own.
 * What it writes there are commands, one a line; what it reads is the log, of which nothing is kept.
 *
 *   root PATH                        the folder that lies on this disk
 *   fault CALLS CLASSES NTH KIND ERRNO COUNT   the NTH of these calls on these files goes wrong, and COUNT - 1 more
 *   calm                             forget all faults
 *
 * The simulation's other half (src/disk/) makes of the log what a crash could have left.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define CONTROL "/sealpost-sim"
#define DISKS_MAX 64
#define FDS_MAX 8192
#define FAULTS_MAX 16

/* The same numbers as in src/disk/log.rs. */
enum call { CREATE = 1, WRITE, TRUNCATE, SYNC, LINK, UNLINK, RENAME, MKDIR, READ };
enum class { DATABASE = 1, LOG = 2, OBJECT = 4, FOLDER = 8, OTHER = 16, INDEX = 32 };
enum kind { FAILS = 1, SHORT = 2, LIES = 3 };

struct fault { unsigned calls, classes, nth, kind, count; int error; };

struct disk {
	char root[256];
	size_t root_len;
	unsigned char *log;
	size_t len, room;
	struct fault faults[FAULTS_MAX];
	unsigned faults_len;
	int used;
};

/* What a record begins with; name, second name and data follow it. */
struct record {
	uint32_t call, class, kind;
	int32_t error;
	uint64_t file, offset, len;
	uint32_t name_len, second_len, data_len, reserved;
};

struct fd { struct disk *disk; unsigned class; uint64_t file; int control; char name[224]; };

static struct disk disks[DISKS_MAX];
static struct fd fds[FDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) \
	static __typeof__(name) *real; \
	if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static struct fd *of_fd(int fd)
{
	if (fd < 0 || fd >= FDS_MAX || !fds[fd].disk) return NULL;
	return &fds[fd];
}

static struct disk *of_path(const char *path)
{
	for (int i = 0; path && i < DISKS_MAX; i++) {
		struct disk *d = &disks[i];
		if (d->used && d->root_len && !strncmp(path, d->root, d->root_len)
		    && (path[d->root_len] == '/' || !path[d->root_len]))
			return d;
	}
	return NULL;
}

static int ends(const char *text, const char *end)
{
	size_t a = strlen(text), b = strlen(end);
	return a >= b && !strcmp(text + a - b, end);
}

static unsigned class_of(const char *path)
{
	if (ends(path, ".db")) return DATABASE;
	if (ends(path, ".db-wal")) return LOG;
	if (ends(path, ".db-shm")) return INDEX;
	if (strstr(path, "/tmp/") || strstr(path, "/objects/")) return OBJECT;
	return OTHER;
}

static void keep(struct disk *d, const void *bytes, size_t n)
{
	if (d->len + n > d->room) {
		d->room = (d->len + n) * 2 + 4096;
		d->log = realloc(d->log, d->room);
		if (!d->log) abort();
	}
	if (n) memcpy(d->log + d->len, bytes, n);
	d->len += n;
}

static void note(struct disk *d, struct record r, const char *name, const char *second, const void *data)
{
	const char *from = name ? name + d->root_len : "", *to = second ? second + d->root_len : "";
	r.name_len = strlen(from);
	r.second_len = strlen(to);
	r.reserved = 0;
	keep(d, &r, sizeof r);
	keep(d, from, r.name_len);
	keep(d, to, r.second_len);
	keep(d, data, r.data_len);
}

/* Is it this call's turn to go wrong? */
static struct fault due(struct disk *d, unsigned call, unsigned class)
{
	struct fault none = { 0 };
	if (!(class & INDEX))
		for (unsigned i = 0; i < d->faults_len; i++) {
			struct fault *f = &d->faults[i];
			if (!(f->calls & (1u << call)) || !(f->classes & class)) continue;
			if (f->nth > 1) { f->nth--; continue; }
			struct fault now = *f;
			if (f->count && !--f->count) *f = d->faults[--d->faults_len];
			return now;
		}
	return none;
}

static void command(struct disk *d, char *line)
{
	struct fault f;
	if (!strncmp(line, "root ", 5)) {
		d->root_len = strlen(line + 5);
		if (d->root_len >= sizeof d->root) abort();
		memcpy(d->root, line + 5, d->root_len + 1);
	} else if (!strcmp(line, "calm")) {
		d->faults_len = 0;
	} else if (sscanf(line, "fault %u %u %u %u %d %u", &f.calls, &f.classes, &f.nth, &f.kind, &f.error, &f.count) == 6
	           && d->faults_len < FAULTS_MAX) {
		d->faults[d->faults_len++] = f;
	} else {
		abort();
	}
}

static int opened(int fd, const char *path, int flags, int fresh)
{
	struct disk *d = of_path(path);
	struct stat s;
	if (fd < 0 || !d) return fd;
	if (fd >= FDS_MAX || fstat(fd, &s)) abort();
	struct fd *f = &fds[fd];
	f->disk = d;
	f->file = s.st_ino;
	f->control = 0;
	f->class = S_ISDIR(s.st_mode) ? FOLDER : class_of(path);
	snprintf(f->name, sizeof f->name, "%s", path);
	if (f->class & INDEX) return fd;
	struct record r = { .class = f->class, .file = s.st_ino };
	if (fresh) {
		r.call = CREATE;
		note(d, r, path, NULL, NULL);
	} else if (flags & O_TRUNC) {
		r.call = TRUNCATE;
		note(d, r, path, NULL, NULL);
	}
	return fd;
}

static int open_control(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0 || fd >= FDS_MAX) return -1;
	for (int i = 0; i < DISKS_MAX; i++)
		if (!disks[i].used) {
			memset(&disks[i], 0, sizeof disks[i]);
			disks[i].used = 1;
			fds[fd] = (struct fd){ .disk = &disks[i], .control = 1 };
			return fd;
		}
	abort();
}

static int open_as(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode)
{
	pthread_mutex_lock(&lock);
	struct disk *d = of_path(path);
	struct stat s;
	int fd;
	if (!strcmp(path, CONTROL)) {
		pthread_mutex_unlock(&lock);
		fd = open_control();
		return fd;
	}
	int fresh = d && (flags & O_CREAT) && lstat(path, &s) && errno == ENOENT;
	if (fresh) {
		struct fault f = due(d, CREATE, class_of(path));
		if (f.kind) {
			struct record r = { .call = CREATE, .class = class_of(path), .kind = f.kind, .error = f.error };
			note(d, r, path, NULL, NULL);
			pthread_mutex_unlock(&lock);
			errno = f.error;
			return -1;
		}
	}
	fd = opened(real(path, flags, mode), path, flags, fresh);
	int error = errno;
	pthread_mutex_unlock(&lock);
	errno = error;
	return fd;
}

#define MODE \
	mode_t mode = 0; \
	if (flags & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); mode = va_arg(a, mode_t); va_end(a); }

int open(const char *path, int flags, ...) { REAL(open); MODE return open_as(real, path, flags, mode); }
int open64(const char *path, int flags, ...) { REAL(open64); MODE return open_as(real, path, flags, mode); }

int close(int fd)
{
	REAL(close);
	pthread_mutex_lock(&lock);
	struct fd *f = of_fd(fd);
	if (f) {
		struct disk *d = f->disk;
		if (f->control) {
			for (int i = 0; i < FDS_MAX; i++) if (fds[i].disk == d) fds[i].disk = NULL;
			free(d->log);
			memset(d, 0, sizeof *d);
		}
		f->disk = NULL;
	}
	int done = real(fd);
	pthread_mutex_unlock(&lock);
	return done;
}

typedef ssize_t (*writer)(int, const void *, size_t, off64_t);
static ssize_t plain_write(int fd, const void *b, size_t n, off64_t at) { REAL(write); (void)at; return real(fd, b, n); }
static ssize_t placed_write(int fd, const void *b, size_t n, off64_t at) { REAL(pwrite64); return real(fd, b, n, at); }

static ssize_t write_as(writer real, int fd, const void *bytes, size_t n, off64_t at)
{
	pthread_mutex_lock(&lock);
	struct fd *f = of_fd(fd);
	ssize_t done;
	if (!f || (f->class & INDEX && !f->control)) {
		pthread_mutex_unlock(&lock);
		return real(fd, bytes, n, at);
	}
	if (f->control) {
		char line[512];
		size_t len = n < sizeof line ? n : sizeof line - 1;
		memcpy(line, bytes, len);
		line[len] = 0;
		if (len && line[len - 1] == '\n') line[len - 1] = 0;
		command(f->disk, line);
		pthread_mutex_unlock(&lock);
		return (ssize_t)n;
	}
	if (at < 0) at = lseek64(fd, 0, SEEK_CUR);
	struct fault fault = due(f->disk, WRITE, f->class);
	struct record r = { .call = WRITE, .class = f->class, .kind = fault.kind, .file = f->file, .offset = (uint64_t)at };
	int error = fault.error;
	if (fault.kind == FAILS) {
		done = -1;
		r.error = error;
	} else {
		size_t part = fault.kind == SHORT && n > 1 ? n / 2 : n;
		done = real(fd, bytes, part, at);
		error = errno;
		if (done < 0) r.error = error;
		else r.data_len = (uint32_t)done;
	}
	r.len = n;
	note(f->disk, r, f->name, NULL, bytes);
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

ssize_t write(int fd, const void *b, size_t n) { return write_as(plain_write, fd, b, n, -1); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return write_as(placed_write, fd, b, n, at); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) { return write_as(placed_write, fd, b, n, at); }

/* Should reading go wrong? */
static int read_fails(int fd)
{
	int error = 0;
	pthread_mutex_lock(&lock);
	struct fd *f = of_fd(fd);
	if (f && !f->control) {
		struct fault fault = due(f->disk, READ, f->class);
		if (fault.kind) {
			struct record r = { .call = READ, .class = f->class, .kind = fault.kind, .error = fault.error, .file = f->file };
			note(f->disk, r, f->name, NULL, NULL);
			error = fault.error;
		}
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return error;
}

ssize_t read(int fd, void *buffer, size_t n)
{
	REAL(read);
	pthread_mutex_lock(&lock);
	struct fd *f = of_fd(fd);
	if (f && f->control) {
		size_t part = f->disk->len < n ? f->disk->len : n;
		if (part) memcpy(buffer, f->disk->log, part);
		if (part) memmove(f->disk->log, f->disk->log + part, f->disk->len - part);
		f->disk->len -= part;
		pthread_mutex_unlock(&lock);
		return (ssize_t)part;
	}
	pthread_mutex_unlock(&lock);
	return f && read_fails(fd) ? -1 : real(fd, buffer, n);
}
ssize_t pread(int fd, void *b, size_t n, off_t at) { REAL(pread); return of_fd(fd) && read_fails(fd) ? -1 : real(fd, b, n, at); }
ssize_t pread64(int fd, void *b, size_t n, off64_t at) { REAL(pread64); return of_fd(fd) && read_fails(fd) ? -1 : real(fd, b, n, at); }

static int truncate_as(int fd, off64_t size)
{
	REAL(ftruncate64);
	pthread_mutex_lock(&lock);
	struct fd *f = of_fd(fd);
	int done, error = 0;
	if (!f || f->control || f->class & INDEX) {
		pthread_mutex_unlock(&lock);
		return real(fd, size);
	}
	struct fault fault = due(f->disk, TRUNCATE, f->class);
	if (fault.kind) { done = -1; error = fault.error; }
	else { done = real(fd, size); error = done ? errno : 0; }
	struct record r = { .call = TRUNCATE, .class = f->class, .kind = fault.kind, .error = error, .file = f->file, .offset = (uint64_t)size };
	note(f->disk, r, f->name, NULL, NULL);
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}
int ftruncate(int fd, off_t size) { return truncate_as(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncate_as(fd, size); }

/* The folder of these files is memory already: a sync that is not made to fail has nothing to do. */
static int sync_as(int (*real)(int), int fd)
{
	pthread_mutex_lock(&lock);
	struct fd *f = of_fd(fd);
	if (!f || f->control || f->class & INDEX) {
		pthread_mutex_unlock(&lock);
		return real(fd);
	}
	struct fault fault = due(f->disk, SYNC, f->class);
	struct record r = { .call = SYNC, .class = f->class, .kind = fault.kind, .file = f->file };
	if (fault.kind == FAILS) r.error = fault.error;
	note(f->disk, r, f->name, NULL, NULL);
	pthread_mutex_unlock(&lock);
	errno = r.error;
	return r.error ? -1 : 0;
}
int fsync(int fd) { REAL(fsync); return sync_as(real, fd); }
int fdatasync(int fd) { REAL(fdatasync); return sync_as(real, fd); }

/* Changes of folders. Only what has happened, or was made to fail, is noted. */
static int named(unsigned call, const char *name, const char *second, int (*real)(const char *, const char *, mode_t), mode_t mode)
{
	pthread_mutex_lock(&lock);
	struct disk *d = of_path(second ? second : name);
	const char *subject = second ? second : name;
	struct stat s = { 0 };
	int done, error = 0;
	if (!d || class_of(subject) & INDEX) {
		pthread_mutex_unlock(&lock);
		return real(name, second, mode);
	}
	if (call != MKDIR && lstat(name, &s)) s.st_ino = 0;
	unsigned class = call == MKDIR ? FOLDER : class_of(subject);
	struct fault fault = due(d, call, class);
	if (fault.kind) { done = -1; error = fault.error; }
	else { done = real(name, second, mode); error = done ? errno : 0; }
	if (!done && call == MKDIR && lstat(name, &s)) abort();
	if (!done || fault.kind) {
		struct record r = { .call = call, .class = class, .kind = fault.kind, .error = error, .file = s.st_ino };
		note(d, r, name, second, NULL);
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

static int do_link(const char *a, const char *b, mode_t m) { REAL(linkat); (void)m; return real(AT_FDCWD, a, AT_FDCWD, b, 0); }
static int do_unlink(const char *a, const char *b, mode_t m) { REAL(unlink); (void)b; (void)m; return real(a); }
static int do_rename(const char *a, const char *b, mode_t m) { REAL(rename); (void)m; return real(a, b); }
static int do_mkdir(const char *a, const char *b, mode_t m) { REAL(mkdir); (void)b; return real(a, m); }

int link(const char *a, const char *b) { return named(LINK, a, b, do_link, 0); }
int linkat(int da, const char *a, int db, const char *b, int flags)
{
	REAL(linkat);
	if (da != AT_FDCWD || db != AT_FDCWD) return real(da, a, db, b, flags);
	return named(LINK, a, b, do_link, 0);
}
int unlink(const char *a) { return named(UNLINK, a, NULL, do_unlink, 0); }
int rename(const char *a, const char *b) { return named(RENAME, a, b, do_rename, 0); }
int mkdir(const char *a, mode_t m) { return named(MKDIR, a, NULL, do_mkdir, m); }
