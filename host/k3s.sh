# shellcheck shell=sh
# k3s itself: the files that a guest has of it, which the host stores (store.sh), and its service in a guest.

# k3s_place NAME SHA256=PATH...: give the guest these files and no others. Remove stored files that no guest uses any longer.
k3s_place() {
    name=$1
    shift
    own_directory "$name"
    store_directory
    place=$state/$name/k3s
    for _entry; do
        is_stored "${_entry%%=*}" ||
            die "the host does not have ${_entry#*=} of k3s" "Run again."
    done
    [ -d "$place" ] || mkdir -m 0755 "$place"
    [ -d "$place/images" ] || mkdir -m 0755 "$place/images"
    for _entry; do
        hard_link "$store/${_entry%%=*}" "$place/${_entry#*=}"
        # By which the guest knows its binary.
        case $_entry in *=k3s) [ "$(cat "$place/sha256" 2>/dev/null)" = "${_entry%%=*}" ] ||
            echo "${_entry%%=*}" | install_file 644 "$place/sha256" ;; esac
    done
    for _path in "$place/images"/*; do
        [ -f "$_path" ] || continue
        case " $* " in *"=${_path#"$place/"} "*) ;; *) unlink_placed "$_path" ;; esac
    done
    rm -f "$place"/.*.new "$place/images"/.*.new
}

unlink_placed() { # PATH
    result=changed
    _old=$(stored_as "$1")
    rm -f "$1"
    forget "$_old"
}

# k3s_unplace NAME: of a guest that has no k3s any more.
k3s_unplace() {
    [ ! -d "$state/$1/k3s" ] || {
        for _path in "$state/$1/k3s"/* "$state/$1/k3s/images"/*; do
            [ ! -f "$_path" ] || unlink_placed "$_path"
        done
        result=changed
        rm -rf "$state/$1/k3s"
    }
    rmdir "$state/.k3s" 2>/dev/null || :
}

# k3s_cordoned NAME yes|no: what a change that was cut off has left is undone by the next run.
k3s_cordoned() {
    case $2 in yes) : >"$state/$1/k3s/.cordoned" ;; no) rm -f "$state/$1/k3s/.cordoned" ;; esac
}

# k3s_start NAME HOW CLUSTER NODE BYTES: install the files that were sent, lines `MODE PATH BASE64`, enable k3s.service, and
# restart it unless it runs with them and the placed binary. Record role, cluster and name first.
k3s_start() {
    tool_seconds=150 # systemd gives a service 90 s to stop
    sent=$(received "$5")
    [ -e "$state/$1/k3s/.joined" ] || echo "$2 $3 $4" | install_file 600 "$state/$1/k3s/.joined"
    _said=$({
        printf '%s\nsha256=%s\n%s\n' "$NODE" "$(cat "$state/$1/k3s/sha256")" "$START_K3S"
        printf '%s\n' "$sent" | sed '/./s/^/put /'
        echo start
    } | in_guest "$1" "Start k3s") || {
        said "journal $1" "$(printf '%s\n' "$_said" | printable)" >&3
        die "k3s.service does not start" "Run \"pyinfra-nspawn logs HOST:$1 -u k3s\"."
    }
    case $_said in *changed*) result=changed ;; esac
}

# shellcheck disable=SC2016 # for the guest's shell
START_K3S='
put() { # MODE PATH BASE64
    [ "$1" != - ] || { rm -f "$2"; return; }
    mkdir -p "${2%/*}"
    (umask 077; printf %s "$3" | base64 -d >"$2.new") && chmod "$1" "$2.new" && mv -f "$2.new" "$2" || exit
}
start() {
    rm -f /run/systemd/system/k3s.service.d/10-leaving.conf
    systemctl daemon-reload || exit
    [ "$(systemctl is-enabled k3s.service)" = enabled ] || { echo changed; systemctl enable k3s.service || exit; }
    _runs="$(systemctl is-active k3s.service) $(cat /run/k3s/started 2>/dev/null)"
    [ "$_runs" != "active $sha256 $(node_files)" ] || return 0
    echo changed
    systemctl reset-failed k3s.service
    systemctl restart k3s.service
}'

# k3s_hold NAME: k3s of a server ends when etcd forgets its member. Started again, it would begin with a cluster of its own
# (https://github.com/k3s-io/k3s/issues/13623).
k3s_hold() {
    [ -e "$run/systemd/machines/$1" ] || return 0
    result=changed
    printf '%s\n' "$HOLD_K3S" | in_guest "$1" "Keep k3s from starting again" >/dev/null ||
        die "k3s.service cannot be disabled" "Run \"systemctl -M $1 status k3s\" on the host."
}

# shellcheck disable=SC2016 # for the guest's shell
HOLD_K3S='
systemctl cat k3s.service >/dev/null 2>&1 || exit 0
mkdir -p /run/systemd/system/k3s.service.d || exit
printf "[Service]\nRestart=no\n" >/run/systemd/system/k3s.service.d/10-leaving.conf || exit
systemctl disable k3s.service && systemctl daemon-reload'

# k3s_leave NAME ROLE: its service does not run, nor start again. A server that was removed from etcd cannot go on with its data:
# they are put aside. An agent of a guest that does not answer is stopped with the guest.
k3s_leave() {
    [ -e "$run/systemd/machines/$1" ] || return 0
    result=changed
    tool_seconds=150
    if ! printf 'role=%s\n%s\n' "$2" "$STOP_K3S" | in_guest "$1" "Stop k3s" >/dev/null; then
        [ "$2" != server ] || die "k3s.service does not stop" "Run \"pyinfra-nspawn logs HOST:$1 -u k3s\"."
        note "k3s.service did not stop"
    fi
}

# k3s_left NAME: it is no node any more.
k3s_left() {
    rm -f "$state/$1/k3s/.joined" "$state/$1/k3s/.cordoned"
}

# shellcheck disable=SC2016 # for the guest's shell
STOP_K3S='
systemctl cat k3s.service >/dev/null 2>&1 || exit 0
systemctl disable --now k3s.service || exit
cd /var/lib/rancher/k3s/server 2>/dev/null && [ "$role" = server ] && [ -d db ] || exit 0
rm -rf db.left && mv db db.left'

# k3s_founds NAME: fails where that node has joined a cluster: another server would found a second one.
k3s_founds() {
    is_root || die "whether guest $1 has a cluster cannot be read" "Set _sudo to True in the inventory."
    [ ! -e "$state/$1/k3s/.joined" ] ||
        die "guest $1 is a node of this cluster already" "List the server that founded it before all others."
}

# kubectl NAME WORD...: in a server, as k3s itself runs it.
kubectl() {
    _server=$1
    shift
    _line=
    for _word; do _line="$_line '$_word'"; done
    echo "exec /usr/lib/k3s/k3s kubectl$_line" | in_guest "$_server" "Ask the cluster"
}

# kubectl_failed PROBLEM HINT SAID
kubectl_failed() {
    said "journal $guest" "$(printf '%s\n' "$3" | printable | tail -n 5)" >&3
    die "$1" "$2"
}

# k3s_answers NAME: whether that server does.
k3s_answers() {
    _said=$(kubectl "$1" get nodes --no-headers) ||
        kubectl_failed "server $1 does not answer" "Run \"pyinfra-nspawn logs HOST:$1 -u k3s\"." "$_said"
}

# k3s_drain NAME NODE SECONDS STAYS: asked of the server NAME. It may take as long as the pods of NODE take to end. With STAYS
# `yes` the node stays cordoned if that fails.
k3s_drain() {
    result=changed
    tool_seconds=$(($3 + 30))
    _said=$(kubectl "$1" drain "$2" --ignore-daemonsets --delete-emptydir-data "--timeout=$3s") && return
    case $_said in *"(NotFound)"*) return 0 ;; esac
    [ "$4" = yes ] || kubectl "$1" uncordon "$2" >/dev/null || :
    kubectl_failed "node $2 cannot be drained" "End or move its pods, or set \`drain: False\`." "$_said"
}

# k3s_uncordon NAME NODE: a server that was started a moment ago may not answer yet.
k3s_uncordon() {
    result=changed
    _tries=30
    until _said=$(kubectl "$1" uncordon "$2"); do
        case $_said in *"(NotFound)"*) return 0 ;; esac
        _tries=$((_tries - 1))
        [ "$_tries" != 0 ] || kubectl_failed "node $2 stays cordoned" "Run \"kubectl uncordon $2\"." "$_said"
        sleep 1
    done
}

# k3s_delete_node NAME NODE: of a server, etcd forgets the member before this ends (k3s has a finalizer for that).
k3s_delete_node() {
    result=changed
    tool_seconds=150
    _said=$(kubectl "$1" delete node "$2" --ignore-not-found) ||
        kubectl_failed "node $2 cannot be deleted" "Run \"kubectl delete node $2\"." "$_said"
}

# k3s_await NAME NODE SECONDS: until the node is ready, and nothing is said against it.
k3s_await() {
    now
    _began=$now
    while :; do
        _said=$(printf '%s\nnode\n' "$NODE" | in_guest "$1" "Look at the node" | head -c 300 | printable)
        case $_said in
        *NotReady* | *"$NEWLINE"*) ;;
        "$2 Ready"*) return ;;
        esac
        now
        [ $((now - _began)) -lt "$3" ] || break
        sleep 1
    done
    die "node $2 is not ready (waited $3 s): ${_said##*"$NEWLINE"}" \
        "Run \"pyinfra-nspawn logs HOST:$1 -u k3s\"."
}

# Every node may read itself and its lease, as its kubelet. The cluster calls a node ready for 40 s after its kubelet was last
# heard of (kube-controller-manager, --node-monitor-grace-period): it counts once the kubelet has renewed its lease since k3s
# was started, and is of that binary. facts/k3s.sh reads this too.
# shellcheck disable=SC2016 # for the guest's shell
NODE='
node_files() {
    (cd /etc/rancher/k3s && cat config.yaml /etc/systemd/system/k3s.service prepare /etc/profile.d/k3s.sh cluster-token 2>/dev/null |
        sha256sum | cut -c1-64)
}
as_node() {
    timeout 10 /usr/lib/k3s/k3s kubectl --kubeconfig /var/lib/rancher/k3s/agent/kubelet.kubeconfig "$@" 2>/run/k3s/said
}
# The line of the node, and another one that says why it is not ready although its cluster may call it so.
node() {
    [ -e /var/lib/rancher/k3s/agent/kubelet.kubeconfig ] || { echo "k3s is starting"; return; }
    _name=$(sed -n "s/^node-name: \"\(.*\)\"/\1/p" /etc/rancher/k3s/config.yaml)
    _line=$(as_node get node --no-headers "$_name") || { tail -n 1 /run/k3s/said; return; }
    echo "$_line" | tr -s " "
    _version=$(/usr/lib/k3s/k3s --version | sed -n "1s/^k3s version \([^ ]*\).*/\1/p")
    _renewed=$(as_node get lease --namespace=kube-node-lease "$_name" --output=jsonpath={.spec.renewTime})
    case $_line in
    *" $_version") ;;
    *) echo "the node does not run $_version yet"; return ;;
    esac
    [ "$(date -d "$_renewed" +%s)" -gt "$(stat -c %Y /run/k3s/started)" ] 2>/dev/null || echo "kubelet is starting"
}'
