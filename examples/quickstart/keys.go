package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// keys does what the keys say.
type keys struct {
	fleet *fleet
	etcd  *etcdServer // nil if it is not the demo's own
	admin string
	out   io.Writer
}

// obey does what one key says, and shows the pool after it.
func (k *keys) obey(ctx context.Context, key string) error {
	said, err := k.act(ctx, key)
	if err != nil {
		return err
	}
	if said != "" {
		fmt.Fprintln(k.out, key, said)
	}
	time.Sleep(300 * time.Millisecond) // Most changes in etcd have arrived by then.
	pool, err := pools(ctx, k.admin)
	if err != nil {
		return fmt.Errorf("ask the admin API: %w", err)
	}
	fmt.Fprintln(k.out, "  pool:", pool)
	return nil
}

func (k *keys) act(ctx context.Context, key string) (said string, err error) {
	var addr string
	switch key {
	case "+":
		addr, err = k.fleet.add(ctx)
		said = addr + " registered itself"
	case "-":
		addr, err = k.fleet.remove((*instance).close)
		said = addr + " deregistered, finished its calls and stopped"
	case "k":
		addr, err = k.fleet.remove((*instance).kill)
		said = fmt.Sprintf("%s was killed: calls go to the others, and its registration ends within %d s", addr, leaseTTL)
	case "e":
		said, err = k.switchEtcd()
	case "s", "":
	default:
		err = fmt.Errorf("%q is not a key: + starts an instance, - stops one, k kills one, e stops or starts etcd, s shows the pool, q ends", key)
	}
	return said, err
}

// switchEtcd stops etcd if it runs, and else starts it.
func (k *keys) switchEtcd() (said string, err error) {
	switch {
	case k.etcd == nil:
		return "", errors.New("this etcd is not the demo's own: stop it yourself")
	case k.etcd.running != nil:
		k.etcd.stop()
		return "etcd is stopped: calls go on. Type e again to start it", nil
	default:
		return "etcd runs again", k.etcd.start()
	}
}

// fleet is the set of instances of the demo.
type fleet struct {
	client    *clientv3.Client
	key       string
	store     *userStore
	instances []*instance
}

func (f *fleet) add(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	inst, err := startInstance(ctx, f.client, f.key, f.store)
	if err != nil {
		return "", err
	}
	f.instances = append(f.instances, inst)
	return inst.addr, nil
}

// remove ends the oldest instance in the way that end does it.
func (f *fleet) remove(end func(*instance)) (string, error) {
	if len(f.instances) == 0 {
		return "", errors.New("no instance is left")
	}
	inst := f.instances[0]
	f.instances = f.instances[1:]
	end(inst)
	return inst.addr, nil
}

// close ends all instances at once. If etcd is away, each waits for it a little.
func (f *fleet) close() {
	var all sync.WaitGroup
	for _, inst := range f.instances {
		all.Go(inst.close)
	}
	all.Wait()
}
