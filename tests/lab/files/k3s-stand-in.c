/* A stand-in for k3s: nodes beat, the first server of a cluster keeps them, and kubectl asks it. It runs no
   containers.

   A request is one line, `beat TOKEN NAME ROLE VERSION` or `kubectl TOKEN VERB [NAME [SECONDS]]`, after which
   the client shuts its side. The reply is `refused`, or lines `out TEXT` and `err TEXT` then `exit CODE`. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONFIG "/etc/rancher/k3s/config.yaml"
#define KUBECONFIG "/etc/rancher/k3s/k3s.yaml"
#define STATE "/var/lib/rancher/k3s"
#define NODES STATE "/server/nodes"
#define EVENTS STATE "/server/events"
#define OWN_TOKEN STATE "/server/token"
#define REFUSE_DRAIN STATE "/server/refuse-drain"
#define KUBELET STATE "/agent/kubelet.kubeconfig"
#define IMAGES STATE "/agent/images"
#define UNEXPECTED STATE "/unexpected"

/* One client that says nothing must not hold up a server until its own node seems gone. */
enum { ANSWER_SECONDS = 3, READY_SECONDS = 40 };
enum { WORD = 512, LINE = 4096, REPLY = 65536 };
enum { UNEXPECTED_COMMAND = 64 };

struct node {
    char name[WORD], role[16], version[64];
    int schedulable;
    time_t since, beat;
};

static char own_name[WORD], upstream[WORD], token[WORD] = "-";

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("k3s stand-in: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    exit(1);
}

/* ---- files ---- */

static void make_parents(const char *path) {
    char parent[LINE];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
        if (mkdir(parent, 0755) && errno != EEXIST)
            die("%s: %s", parent, strerror(errno));
    }
}

/* Beside and renamed: SIGTERM may come at any time. */
static void write_file(const char *path, const char *content) {
    char new[LINE];
    snprintf(new, sizeof new, "%.*s/.new", (int)(strrchr(path, '/') - path), path);
    make_parents(path);
    int file = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t size = (ssize_t)strlen(content);
    if (file < 0 || write(file, content, (size_t)size) != size || close(file) || rename(new, path))
        die("%s: %s", path, strerror(errno));
}

static void append(const char *path, const char *before, const char *after) {
    make_parents(path);
    FILE *file = fopen(path, "ae");
    if (!file || fprintf(file, "%s %s\n", before, after) < 0 || fclose(file))
        die("%s: %s", path, strerror(errno));
}

static int count_images(void) {
    int count = 0;
    struct stat status;
    DIR *images = opendir(IMAGES);
    for (struct dirent *entry; images && (entry = readdir(images));)
        count += !fstatat(dirfd(images), entry->d_name, &status, 0) && S_ISREG(status.st_mode);
    if (images)
        closedir(images);
    return count;
}

/* ---- what this machine is told ---- */

static bool read_config(const char *key, char value[WORD]) {
    char line[LINE];
    size_t length = strlen(key);
    bool found = false;
    FILE *file = fopen(CONFIG, "re");
    while (file && !found && fgets(line, sizeof line, file))
        found = !strncmp(line, key, length) && sscanf(line + length, ": \"%511[^\"]\"", value) == 1;
    if (file)
        fclose(file);
    return found;
}

static void read_machine(void) {
    char url[WORD];
    if (!read_config("node-name", own_name)) {
        gethostname(own_name, sizeof own_name - 1);
        for (char *letter = own_name; *letter; letter++)
            *letter = (char)tolower(*letter);
    }
    if (read_config("server", url) && sscanf(url, "https://%511s", upstream) != 1)
        die("server: must be like https://192.0.2.1:6443");
}

static bool read_word(const char *path, char word[WORD]) {
    FILE *file = fopen(path, "re");
    bool found = file && fscanf(file, "%511s", word) == 1;
    if (file)
        fclose(file);
    return found;
}

static void make_token(void) {
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        die("no random bytes");
    for (size_t i = 0; i < sizeof bytes; i++)
        sprintf(token + 2 * i, "%02x", bytes[i]);
    write_file(OWN_TOKEN, token);
}

static void find_token(bool make) {
    char path[WORD];
    if (read_config("token-file", path)) {
        if (!read_word(path, token))
            die("token-file: nothing can be read from %s", path);
    } else if (*upstream) {
        die("token-file: is needed to join %s", upstream);
    } else if (!read_word(OWN_TOKEN, token) && make) {
        make_token();
    }
}

/* ---- nodes, kept by the first server ---- */

static bool is_name(const char *text) {
    size_t length = strlen(text);
    return isalnum((unsigned char)*text) && length < 254 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") == length;
}

static bool load(const char *name, struct node *node) {
    char path[LINE];
    snprintf(path, sizeof path, NODES "/%s", name);
    FILE *file = is_name(name) ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    snprintf(node->name, sizeof node->name, "%s", name);
    int fields = fscanf(file, "%15s %63s %d %ld %ld", node->role, node->version, &node->schedulable,
                        &node->since, &node->beat);
    fclose(file);
    return fields == 5;
}

static void save(const struct node *node) {
    char path[LINE], content[LINE];
    snprintf(path, sizeof path, NODES "/%s", node->name);
    snprintf(content, sizeof content, "%s %s %d %ld %ld\n", node->role, node->version, node->schedulable,
             node->since, node->beat);
    write_file(path, content);
}

static void forget(const struct node *node) {
    char path[LINE];
    snprintf(path, sizeof path, NODES "/%s", node->name);
    unlink(path);
}

static void keep_beat(const char *name, const char *role, const char *version) {
    struct node node = {.schedulable = 1, .since = time(NULL)};
    load(name, &node);
    snprintf(node.name, sizeof node.name, "%s", name);
    snprintf(node.role, sizeof node.role, "%s", role);
    snprintf(node.version, sizeof node.version, "%s", version);
    node.beat = time(NULL);
    save(&node);
}

static void print_node(const struct node *node, FILE *reply) {
    long age = time(NULL) - node->since;
    char old[32];
    if (age < 120)
        snprintf(old, sizeof old, "%lds", age);
    else if (age < 3 * 3600)
        snprintf(old, sizeof old, "%ldm", age / 60);
    else
        snprintf(old, sizeof old, "%ldh", age / 3600);
    fprintf(reply, "out %s   %s%s   %s   %s   %s\n", node->name,
            time(NULL) - node->beat < READY_SECONDS ? "Ready" : "NotReady",
            node->schedulable ? "" : ",SchedulingDisabled",
            strcmp(node->role, "server") ? "<none>" : "control-plane,master", old, node->version);
}

static void print_lease(const struct node *node, FILE *reply) {
    char renewed[32];
    struct tm parts;
    strftime(renewed, sizeof renewed, "%FT%T.000000Z", gmtime_r(&node->beat, &parts));
    fprintf(reply, "out %s\n", renewed);
}

static int is_visible(const struct dirent *entry) { return *entry->d_name != '.'; }

static void print_nodes(FILE *reply) {
    struct dirent **entries;
    struct node node;
    int count = scandir(NODES, &entries, is_visible, alphasort);
    for (int i = 0; i < count; i++) {
        if (load(entries[i]->d_name, &node))
            print_node(&node, reply);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* ---- kubectl, as the first server answers it ---- */

static bool set_schedulable(struct node *node, int schedulable, FILE *reply) {
    bool changes = node->schedulable != schedulable;
    fprintf(reply, "out node/%s %s%s\n", node->name, changes ? "" : "already ",
            schedulable ? "uncordoned" : "cordoned");
    node->schedulable = schedulable;
    save(node);
    return changes;
}

static int drain(struct node *node, const char *seconds, FILE *reply) {
    set_schedulable(node, 0, reply);
    if (!access(REFUSE_DRAIN, F_OK)) {
        fprintf(reply, "err error: unable to drain node \"%s\" due to error: global timeout reached: %ss\n",
                node->name, seconds);
        return 1;
    }
    fprintf(reply, "out node/%s drained\n", node->name);
    append(EVENTS, "drain", node->name);
    return 0;
}

static int answer_kubectl(const char *verb, const char *name, const char *seconds, FILE *reply) {
    struct node node;
    if (!strcmp(verb, "nodes")) {
        print_nodes(reply);
    } else if (!load(name, &node)) {
        if (!strcmp(verb, "delete"))
            return 0;
        fprintf(reply, "err Error from server (NotFound): nodes \"%s\" not found\n", name);
        return 1;
    } else if (!strcmp(verb, "node")) {
        print_node(&node, reply);
    } else if (!strcmp(verb, "lease")) {
        print_lease(&node, reply);
    } else if (!strcmp(verb, "drain")) {
        return drain(&node, seconds, reply);
    } else if (!strcmp(verb, "delete")) {
        forget(&node);
        fprintf(reply, "out node \"%s\" deleted\n", name);
        append(EVENTS, verb, name);
    } else if (set_schedulable(&node, !strcmp(verb, "uncordon"), reply)) {
        append(EVENTS, verb, name);
    }
    return 0;
}

static void answer(char *line, FILE *reply) {
    const char *words[5] = {"", "", "", "", ""};
    char *rest = line, *word;
    for (int i = 0; i < 5 && (word = strsep(&rest, " \n")); i++)
        words[i] = word;
    bool beat = !strcmp(words[0], "beat");
    if (strcmp(words[1], token) || (beat && !is_name(words[2]))) {
        fputs("refused\n", reply);
    } else if (beat) {
        keep_beat(words[2], words[3], words[4]);
        fputs("exit 0\n", reply);
    } else {
        int code = answer_kubectl(words[2], words[3], words[4], reply);
        fprintf(reply, "exit %d\n", code);
    }
}

/* ---- connections ---- */

static void limit(int connection) {
    struct timeval most = {.tv_sec = ANSWER_SECONDS};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
}

static size_t receive(int connection, char *text, size_t size) {
    size_t length = 0;
    for (ssize_t got = 1; got > 0 && length < size - 1; length += got > 0 ? (size_t)got : 0)
        got = recv(connection, text + length, size - 1 - length, 0);
    text[length] = 0;
    return length;
}

/* No names: a resolver cannot be linked statically. */
static socklen_t read_address(const char *place, struct sockaddr_storage *address) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    char host[64];
    unsigned short port;
    memset(address, 0, sizeof *address);
    if (sscanf(place, "[%63[^]]]:%hu", host, &port) == 2 && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return sizeof *v6;
    }
    if (sscanf(place, "%63[^:]:%hu", host, &port) == 2 && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof *v4;
    }
    return 0;
}

static int connect_to(const char *place) {
    struct sockaddr_storage address;
    socklen_t size = read_address(place, &address);
    errno = EDESTADDRREQ;
    int connection = size ? socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (connection < 0)
        return -1;
    limit(connection);
    if (!connect(connection, (struct sockaddr *)&address, size))
        return connection;
    int why = errno;
    close(connection);
    errno = why;
    return -1;
}

static bool ask(const char *place, const char *request, char reply[REPLY]) {
    int connection = connect_to(place);
    if (connection < 0)
        return false;
    send(connection, request, strlen(request), MSG_NOSIGNAL);
    shutdown(connection, SHUT_WR);
    size_t length = receive(connection, reply, REPLY);
    close(connection);
    errno = ECONNRESET;
    return length > 0;
}

static void serve(int listening) {
    char line[LINE];
    static char relayed[REPLY];
    int connection = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0)
        return;
    limit(connection);
    receive(connection, line, sizeof line);
    FILE *reply = fdopen(connection, "w");
    if (!reply)
        die("%s", strerror(errno));
    if (!*upstream)
        answer(line, reply);
    else if (ask(upstream, line, relayed))
        fputs(relayed, reply);
    fclose(reply);
}

static int listen_on(const char *place) {
    struct sockaddr_storage address;
    socklen_t size = read_address(place, &address);
    int yes = 1, listening = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listening < 0 && errno == EAFNOSUPPORT)
        return -1; /* poll(2) passes over it */
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (address.ss_family == AF_INET6)
        setsockopt(listening, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    if (bind(listening, (struct sockaddr *)&address, size) || listen(listening, 64))
        die("%s: %s", place, strerror(errno));
    return listening;
}

/* ---- server and agent ---- */

static void beat(const char *role) {
    static bool joined;
    static char reply[REPLY];
    char request[LINE];
    if (!*upstream) {
        keep_beat(own_name, role, VERSION);
        return;
    }
    snprintf(request, sizeof request, "beat %s %s %s " VERSION "\n", token, own_name, role);
    if (!ask(upstream, request, reply)) {
        if (!joined)
            die("cannot join %s: %s", upstream, strerror(errno));
    } else if (!strncmp(reply, "refused", 7)) {
        die("%s refuses the token or the name of this node", upstream);
    } else {
        joined = true;
    }
}

static void write_kubeconfigs(bool server) {
    write_file(KUBELET, "# k3s stand-in: nothing here is needed\n");
    if (!server)
        return;
    write_file(KUBECONFIG, "apiVersion: v1\n"
                           "clusters:\n"
                           "- cluster:\n"
                           "    certificate-authority-data: c3RhbmQtaW4=\n"
                           "    server: https://127.0.0.1:6443\n"
                           "  name: default\n"
                           "contexts:\n"
                           "- context:\n"
                           "    cluster: default\n"
                           "    user: default\n"
                           "  name: default\n"
                           "current-context: default\n"
                           "kind: Config\n"
                           "preferences: {}\n"
                           "users:\n"
                           "- name: default\n"
                           "  user:\n"
                           "    client-certificate-data: c3RhbmQtaW4=\n"
                           "    client-key-data: c3RhbmQtaW4=\n");
}

static void end(int signal) {
    (void)signal;
    _exit(0);
}

__attribute__((noreturn)) static void run(const char *role) {
    struct pollfd listening[2] = {{.fd = -1, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    bool server = !strcmp(role, "server");
    signal(SIGTERM, end);
    signal(SIGPIPE, SIG_IGN);
    if (BROKEN)
        die("this one does not run");
    read_machine();
    printf("k3s stand-in " VERSION ": %s %s, %d images\n", role, own_name, count_images());
    if (!is_name(own_name))
        die("node-name: %s is none", own_name);
    if (!server && !*upstream)
        die("server: is needed, for an agent joins one");
    find_token(true);
    if (server) {
        listening[0].fd = listen_on("0.0.0.0:6443");
        listening[1].fd = listen_on("[::]:6443");
    }
    beat(role);
    write_kubeconfigs(server);
    for (time_t last = time(NULL);;) {
        poll(listening, 2, 1000);
        for (int i = 0; i < 2; i++) {
            if (time(NULL) != last)
                beat(role);
            last = time(NULL);
            if (listening[i].revents & POLLIN)
                serve(listening[i].fd);
        }
    }
}

/* ---- kubectl, as it is called ---- */

/* NAME stands for a node's name, and a word that ends in `=` for that with a number of seconds after it. */
static const char *const COMMANDS[][6] = {
    {"node", "get", "node", "NAME", "--no-headers"},
    {"node", "get", "node", "--no-headers", "NAME"},
    {"nodes", "get", "nodes", "--no-headers"},
    {"lease", "get", "lease", "--namespace=kube-node-lease", "NAME", "--output=jsonpath={.spec.renewTime}"},
    {"cordon", "cordon", "NAME"},
    {"uncordon", "uncordon", "NAME"},
    {"drain", "drain", "NAME", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout="},
    {"delete", "delete", "node", "NAME", "--ignore-not-found"},
};

static bool is_seconds(const char *word, const char *option, char seconds[WORD]) {
    int length = 0;
    if (strncmp(word, option, strlen(option)))
        return false;
    return sscanf(word + strlen(option), "%9[0-9]s%n", seconds, &length) == 1 && length &&
           !word[strlen(option) + (size_t)length];
}

static bool matches_word(const char *expected, const char *word, char name[WORD], char seconds[WORD]) {
    if (expected[strlen(expected) - 1] == '=')
        return is_seconds(word, expected, seconds);
    if (strcmp(expected, "NAME"))
        return !strcmp(expected, word);
    snprintf(name, WORD, "%s", word);
    return is_name(word);
}

static bool matches(const char *const *pattern, char **words, char name[WORD], char seconds[WORD]) {
    int i = 0;
    for (; i < 5 && pattern[i]; i++)
        if (!words[i] || !matches_word(pattern[i], words[i], name, seconds))
            return false;
    return !words[i];
}

static int show(char *reply) {
    for (char *line; (line = strsep(&reply, "\n"));) {
        if (!strncmp(line, "out ", 4))
            puts(line + 4);
        else if (!strncmp(line, "err ", 4))
            fprintf(stderr, "%s\n", line + 4);
        else if (!strncmp(line, "exit ", 5))
            return atoi(line + 5);
    }
    fputs("error: You must be logged in to the server (Unauthorized)\n", stderr);
    return 1;
}

static int request(const char *verb, const char *name, const char *seconds) {
    static char reply[REPLY];
    char line[LINE];
    read_machine();
    find_token(false);
    const char *place = *upstream ? upstream : "127.0.0.1:6443";
    snprintf(line, sizeof line, "kubectl %s %s %s %s\n", token, verb, name, seconds);
    if (ask(place, line, reply))
        return show(reply);
    fprintf(stderr,
            "The connection to the server %s was refused - did you specify the right host or port?\n", place);
    return 1;
}

static int unexpected(char **words) {
    char line[LINE] = "";
    for (char **word = words + 1; *word; word++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%s", *line ? " " : "", *word);
    fprintf(stderr, "k3s stand-in: unexpected command: k3s %s\n", line);
    append(UNEXPECTED, "k3s", line);
    return UNEXPECTED_COMMAND;
}

static int kubectl(char **all) {
    char name[WORD] = "", seconds[WORD] = "", unused[WORD];
    char **words = all + 2;
    const char *kubeconfig = NULL;
    if (words[0] && words[1] && !strcmp(words[0], "--kubeconfig")) {
        kubeconfig = words[1];
        words += 2;
    }
    if (words[0] && is_seconds(words[0], "--request-timeout=", unused))
        words++;
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        if (!matches(COMMANDS[i] + 1, words, name, seconds))
            continue;
        if (!kubeconfig || !access(kubeconfig, R_OK))
            return request(COMMANDS[i][0], name, seconds);
        fprintf(stderr, "error: stat %s: no such file or directory\n", kubeconfig);
        return 1;
    }
    return unexpected(all);
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0); /* in the order of stderr, where both go to one place */
    if (count == 2 && !strcmp(words[1], "--version"))
        return printf("k3s version " VERSION " (stand-in)\n") < 0;
    if (count == 2 && (!strcmp(words[1], "server") || !strcmp(words[1], "agent")))
        run(words[1]);
    if (count > 1 && !strcmp(words[1], "kubectl"))
        return kubectl(words);
    return unexpected(words);
}
