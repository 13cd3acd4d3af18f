/* A long way on one machine. Joins the TUN device "near0" of this network namespace with "far0" of another one, and holds every
   packet for some milliseconds in each direction, so that TCP sees a real round trip. Where more is on the way than a router
   would hold, packets are lost.

   Usage: wan NAMESPACE MILLISECONDS. It says "ready" when both devices are there; they vanish with it. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* A segment of 64 kB with its headers: the devices take what TCP hands down undivided, as network cards do. */
enum { LARGEST = 66 * 1024 };
/* Packets taken in before those that are due are looked at again. */
enum { TURN = 64 };
/* Bytes on the way in one direction: twice what 40 ms take at 6 Gbit/s. */
static const size_t ROOM = 64 << 20;
static const int64_t SECOND = 1000000000;

struct packet {
  struct packet *next;
  int64_t due;
  size_t size;
  char bytes[];
};

struct way {
  int from, to;
  int64_t delay;
};

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * SECOND + time.tv_nsec;
}

static int device(const char *name) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
    err(1, "cannot make the device %s", name);
  if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0)
    err(1, "the device %s takes no large segments", name);
  return fd;
}

static void *carry(void *argument) {
  const struct way *way = argument;
  struct packet *first = NULL, **last = &first;
  size_t held = 0;
  static _Thread_local char buffer[LARGEST];
  for (;;) {
    for (int taken = 0; taken < TURN; taken++) {
      ssize_t size = read(way->from, buffer, sizeof buffer);
      if (size <= 0)
        break;
      if (held + size > ROOM)
        continue;
      struct packet *packet = malloc(sizeof *packet + size);
      if (!packet)
        err(1, "no memory");
      *packet = (struct packet){.due = now() + way->delay, .size = size};
      memcpy(packet->bytes, buffer, size);
      *last = packet;
      last = &packet->next;
      held += size;
    }
    int64_t time = now();
    while (first && first->due <= time) {
      struct packet *packet = first;
      /* A device that is not up yet, or not any more, loses it: so do networks. */
      ssize_t written = write(way->to, packet->bytes, packet->size);
      (void)written;
      held -= packet->size;
      first = packet->next;
      if (!first)
        last = &first;
      free(packet);
    }
    int64_t left = first ? first->due - time : 0;
    struct timespec wait = {left / SECOND, left % SECOND};
    struct pollfd more = {.fd = way->from, .events = POLLIN};
    ppoll(&more, 1, first ? &wait : NULL, NULL);
  }
}

int main(int count, char **words) {
  if (count != 3)
    errx(2, "usage: wan NAMESPACE MILLISECONDS");
  char path[256];
  snprintf(path, sizeof path, "/var/run/netns/%s", words[1]);
  int64_t delay = atof(words[2]) * 1e6;
  int here = open("/proc/self/ns/net", O_RDONLY), there = open(path, O_RDONLY);
  int near = device("near0");
  if (here < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0)
    err(1, "cannot enter %s", path);
  int far = device("far0");
  if (setns(here, CLONE_NEWNET) < 0)
    err(1, "cannot come back");
  struct way out = {near, far, delay}, back = {far, near, delay};
  pthread_t thread;
  if (pthread_create(&thread, NULL, carry, &out))
    errx(1, "cannot start a thread");
  puts("ready");
  fflush(stdout);
  carry(&back);
}
