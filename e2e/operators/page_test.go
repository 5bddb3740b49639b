package operators

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/browser"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// patience is how long a test waits before it gives up.
const patience = 2 * time.Minute

// world is a gateway with an open page, and what a test breaks.
type world struct {
	etcd    *kit.Etcd
	caddy   *kit.Caddy
	browser *browser.Browser
	page    *browser.Tab
	shop    []*testkit.Backend // the instances of the service shop
	broken  atomic.Bool        // makes the first of them answer UNAVAILABLE
	schema  string             // the file with the schema of shop
}

// site has the page at /status/, and the gateway everywhere else.
const site = `
handle_path /status/* {
	grpc_gateway_status
}
handle {
	grpc_gateway shop user
}`

// global defines two services in etcd. The options are further ones of shop.
func (w *world) global(options string) string {
	return fmt.Sprintf(`
grpc_gateway {
	etcd {
		endpoints %s
	}
	upstream shop {
		discover etcd shop.rpc
		descriptors protoset %s
		eject 3 10s
		%s
	}
	upstream user {
		discover etcd user.rpc
	}
}`, w.etcd.Addr, w.schema, options)
}

// newWorld starts two services, with three instances and with one.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{etcd: kit.EmbeddedEtcd(t), schema: filepath.Join(t.TempDir(), "shop.binpb")}
	write(t, w.schema, kit.Descriptors(t))
	fails := grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if w.broken.Load() {
			return nil, status.Error(codes.Unavailable, "the disk is <b>full</b>\x1b[31m")
		}
		return h(ctx, req)
	})
	w.shop = []*testkit.Backend{testkit.StartBackend(t, testkit.WithServerOptions(fails)), testkit.StartBackend(t), testkit.StartBackend(t)}
	w.register(t)
	user := testkit.StartNamed(t, "user.v1.User", "ada")
	w.etcd.Put(t, "user.rpc/1", user.Addr())
	w.caddy = kit.StartCaddy(t, kit.Options{Site: site, Global: w.global("")})
	w.caddy.WaitReady(t, patience, w.shop[0].Addr(), w.shop[1].Addr(), w.shop[2].Addr(), user.Addr())
	w.browser = browser.Start(t, browser.Options{Pictures: "operators"})
	w.page = w.browser.Open(t, w.caddy.URL(""), "/status/", browser.Look{})
	return w
}

// register puts the instances of shop into etcd.
func (w *world) register(t *testing.T) {
	t.Helper()
	for i, b := range w.shop {
		w.etcd.Put(t, fmt.Sprintf("shop.rpc/%d", i+1), b.Addr())
	}
}

// get calls the shop.
func (w *world) get(path string) error {
	code, body, err := kit.GetJSON(http.DefaultClient, w.caddy.URL(path))
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %s", path, code, body)
	}
	return err
}

// allWell waits until nothing is wrong.
func (w *world) allWell(t *testing.T) {
	t.Helper()
	w.page.Wait("#verdict", "all well")
	if trouble := w.page.Text("#trouble"); trouble != "" {
		t.Errorf("all is well, and the page says what is wrong: %s", trouble)
	}
}

// sees judges the open page in a state: what an operator reads first, what axe finds, and whether
// it fits. It leaves a picture.
func (w *world) sees(t *testing.T, state, verdict string, trouble ...string) {
	t.Helper()
	w.page.T = t
	w.page.Wait("#verdict", verdict)
	if len(trouble) > 0 {
		w.page.Wait("#trouble", trouble...)
		w.page.Run("window.scrollTo(0, 0)")
		if !browser.JS[bool](w.page, `document.querySelector("#trouble li").getBoundingClientRect().bottom < innerHeight / 2`) {
			t.Error("what is wrong does not begin in the upper half of the window")
		}
	}
	w.page.Shoot(state)
	w.judge(t, w.page)
}

// looks judges the page in other looks than the one that is open.
func (w *world) looks(t *testing.T, state, verdict string) {
	t.Helper()
	for name, l := range map[string]browser.Look{"dark": {Dark: true}, "phone": {Phone: true}} {
		p := w.browser.Open(t, w.caddy.URL(""), "/status/", l)
		p.Wait("#verdict", verdict)
		p.Wait("#routes", "POST")
		w.judge(t, p)
		p.Shoot(state + "-" + name)
	}
}

func (w *world) judge(t *testing.T, p *browser.Tab) {
	t.Helper()
	for _, v := range p.Axe() {
		t.Errorf("axe: %s (%s): %s: %+v", v.ID, v.Impact, v.Help, v.Nodes)
	}
	if wide := p.Widest(); wide != "" {
		t.Errorf("the page is wider than the window: %s", wide)
	}
}

// TestPage breaks a gateway in eight ways, one after the other, while the page is open. Each state
// has to show by itself, and to go by itself once it is over. That the page asks no other host is
// judged by the tab.
func TestPage(t *testing.T) {
	w := newWorld(t)
	for _, state := range []struct {
		name string
		test func(*world, *testing.T)
	}{
		{"all well", (*world).well},
		{"clicking through", (*world).clickThrough},
		{"ejected", (*world).ejected},
		{"broken schema", (*world).brokenSchema},
		{"etcd away", (*world).etcdAway},
		{"held", (*world).held},
		{"draining", (*world).draining},
		{"300 services", (*world).manyServices},
		{"3,000 instances", (*world).manyInstances},
	} {
		if !t.Run(state.name, func(t *testing.T) {
			w.page.T = t
			state.test(w, t)
		}) {
			t.Fatal("the states that follow begin where this one ends")
		}
	}
}

func (w *world) well(t *testing.T) {
	w.page.Wait("#services", "shop", "ready", "3 of 3", "in sync", "12 methods", "user", "1 of 1", "1 method")
	w.allWell(t)
	w.page.Wait("#routes", "/v1/echo/{text}", "gateway.test.v1.Echo/Unary", "user.v1.User/Get")
	w.sees(t, "all-well", "all well")
	for _, hidden := range []string{"#detail", "#draining", "#catalogs"} {
		if text := w.page.Text(hidden); text != "" {
			t.Errorf("%s shows %q", hidden, text)
		}
	}
	resp, err := http.Get(w.caddy.URL("/status/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	html, err := io.ReadAll(resp.Body)
	if most := 60 << 10; err != nil || resp.StatusCode != http.StatusOK || len(html) > most {
		t.Errorf("the page: %s, %v, %d bytes of at most %d", resp.Status, err, len(html), most)
	}
}

// clickThrough uses everything on the page that can be used, also with the keyboard.
func (w *world) clickThrough(t *testing.T) {
	p := w.page
	p.Click(`#services tr[data-key="shop"] button`)
	p.Wait("#detail", "shop", "etcd://", "gateway.test.v1.Echo", w.shop[0].Addr(), w.shop[1].Addr(), w.shop[2].Addr(), "READY")
	if at := browser.JS[string](p, "document.activeElement.id"); at != "detail-title" {
		t.Errorf("the focus is at %q, so a screen reader does not say what has opened", at)
	}
	p.Fill("#find-instance", w.shop[1].Addr())
	kit.Eventually(t, patience, "one instance is found", func() error {
		if text := p.Text("#instances"); strings.Contains(text, w.shop[0].Addr()) || !strings.Contains(text, w.shop[1].Addr()) {
			return fmt.Errorf("the instances are %s", text)
		}
		return nil
	})
	p.Fill("#find-instance", "nothing like it")
	p.Wait("#instances-more", "No instance.")
	w.judge(t, p)
	p.Run(`document.getElementById("close").focus()`)
	p.Press("Enter")
	kit.Eventually(t, patience, "the service is closed", func() error {
		if text := p.Text("#detail"); text != "" {
			return fmt.Errorf("it shows %s", text)
		}
		return nil
	})
	p.Fill("#find-route", "post BIDI")
	kit.Eventually(t, patience, "the route is found", func() error {
		rows := browser.JS[int](p, `document.querySelectorAll("#routes tbody tr").length`)
		if text := p.Text("#routes"); rows == 0 || rows > 3 || !strings.Contains(text, "gateway.test.v1.Echo/Bidi") {
			return fmt.Errorf("%d routes: %s", rows, text)
		}
		return nil
	})
	p.Run(`document.getElementById("find-route").value = ""; document.getElementById("find-route").dispatchEvent(new Event("input"))`)

	// A click in the list of what is wrong leads to the service, and the open service follows what
	// happens to it.
	w.etcd.Put(t, "user.rpc/2", kit.FreeAddr(t))
	p.Wait("#trouble", "degraded", "user", "1 of 2 instances cannot be called", "connection refused")
	p.Click(`#trouble li button`)
	p.Wait("#detail", "user.v1.User", "TRANSIENT_FAILURE", "connection refused")
	p.Shoot("click-through")
	w.etcd.Delete(t, "user.rpc/2")
	kit.Eventually(t, patience, "the instance has gone", func() error {
		if text := p.Text("#instances"); strings.Contains(text, "TRANSIENT_FAILURE") {
			return fmt.Errorf("the instances are %s", text)
		}
		return nil
	})
	p.Click("#close")
	w.allWell(t)
}

func (w *world) ejected(t *testing.T) {
	w.broken.Store(true)
	kit.Eventually(t, patience, "an instance is ejected", func() error {
		for range 20 {
			_ = w.get("/v1/echo/x") // Some of these fail, which is what ejects.
		}
		if text := w.page.Text("#trouble"); !strings.Contains(text, "ejected") {
			return fmt.Errorf("the page says %q", text)
		}
		return nil
	})
	w.sees(t, "ejected", "1 of 2 services need a look", "ejected", "shop", "1 instance gets no calls", w.shop[0].Addr(), `the disk is <b>full</b>\u{1b}[31m`)
	w.broken.Store(false)
	kit.Eventually(t, patience, "the instance is back", func() error {
		_ = w.get("/v1/echo/x")
		if text := w.page.Text("#verdict"); text != "all well" {
			return fmt.Errorf("the page says %s: %s", text, w.page.Text("#trouble"))
		}
		return nil
	})
}

func (w *world) brokenSchema(t *testing.T) {
	good := kit.Descriptors(t)
	write(t, w.schema, []byte("this is no descriptor set"))
	w.sees(t, "broken-schema", "1 of 2 services need a look", "old schema", "shop", "the last one stays in use", "shop.binpb")
	if err := w.get("/v1/echo/x"); err != nil {
		t.Errorf("the last schema is not in use: %v", err)
	}
	write(t, w.schema, good)
	w.allWell(t)
}

func (w *world) etcdAway(t *testing.T) {
	w.etcd.Stop()
	w.sees(t, "etcd-away", "2 of 2 services need a look", "registry lost", "shop, user: the registry is in trouble, the last list stays in use")
	if n := browser.JS[int](w.page, `document.querySelectorAll("#trouble li").length`); n != 1 {
		t.Errorf("the outage of one etcd is %d lines", n)
	}
	w.page.Wait("#services", "stale, ")
	w.looks(t, "etcd-away", "2 of 2 services need a look")
	if err := w.get("/v1/echo/x"); err != nil {
		t.Errorf("the last list is not in use: %v", err)
	}
	w.etcd.Start(t)
	w.allWell(t)
}

// held wipes a service from etcd at once, which looks like an accident.
func (w *world) held(t *testing.T) {
	w.etcd.DeletePrefix(t, "shop.rpc/")
	w.sees(t, "held", "1 of 2 services need a look", "held", "shop", "3 instances vanished from the registry at once and stay in use")
	w.page.Wait("#services", "3 of 3")
	w.register(t)
	w.allWell(t)
}

// draining takes an instance out while it has a call, and then loads a config that replaces the
// pool.
func (w *world) draining(t *testing.T) {
	const last = 2
	var stops []func()
	for n := 0; w.shop[last].InFlight() == 0; n++ {
		if n == 100 {
			t.Fatal("no stream has come to the instance")
		}
		stops = append(stops, rest(t, w.caddy.URL("/v1/stream")))
	}
	w.etcd.Delete(t, fmt.Sprintf("shop.rpc/%d", last+1))
	w.page.Click(`#services tr[data-key="shop"] button`)
	w.page.Wait("#instances", "draining", w.shop[last].Addr())
	w.page.Wait("#services", "2 of 2, 1 draining")
	if err := w.caddy.Reload(kit.Options{Site: site, Global: w.global("connect_timeout 7s")}); err != nil {
		t.Fatal(err)
	}
	w.page.Wait("#draining", "Pools that drain", "shop", "in flight")
	w.sees(t, "draining", "all well")
	w.page.Click("#close")
	for _, stop := range stops {
		stop()
	}
	kit.Eventually(t, patience, "the pool has gone", func() error {
		if text := w.page.Text("#draining"); text != "" {
			return fmt.Errorf("the page shows %s", text)
		}
		return nil
	})
	w.register(t)
	w.page.Wait("#services", "3 of 3")
	w.allWell(t)
}

// manyServices is the number of services that startMany starts.
const manyServices = 300

// startMany starts many services, and returns their entries for etcd. The second one can be taken
// out.
func startMany(t testing.TB) (keys map[string]string, out *testkit.Backend) {
	t.Helper()
	keys = make(map[string]string, manyServices)
	for i := range manyServices {
		b := testkit.StartNamed(t, fmt.Sprintf("s%03d.v1.Thing", i), "x")
		keys[fmt.Sprintf("many/s%03d.rpc/1", i)] = b.Addr()
		if i == 1 {
			out = b
		}
	}
	return keys, out
}

// catalogOf is the global option for a catalog of them.
func catalogOf(etcd *kit.Etcd) string {
	return fmt.Sprintf("grpc_gateway {\n etcd {\n endpoints %s\n }\n catalog fleet etcd many/\n }", etcd.Addr)
}

// manyServices loads a catalog of 300 services. One of them is out, and one cannot be described.
func (w *world) manyServices(t *testing.T) {
	keys, out := startMany(t)
	keys["many/s200.rpc/1"] = testkit.StartBackend(t, testkit.WithReflection(false, false), testkit.WithoutServices()).Addr()
	w.etcd.PutAll(t, keys)
	if err := w.caddy.Reload(kit.Options{Site: strings.Replace(site, "shop user", "catalog:fleet {\n expose *\n }", 1), Global: catalogOf(w.etcd)}); err != nil {
		t.Fatal(err)
	}
	w.page.Wait("#catalogs", "fleet", "registry in sync", "300 services (299 serving, 1 failed)", "limit 500")
	out.Stop()
	w.sees(t, "300-services", "2 of 300 services out", "out", "fleet:s001.rpc", "no schema", "fleet:s200.rpc", "reflection")
	w.page.Wait("#catalog", "s200.rpc", "failed", "reflection")
	w.page.Fill("#find-service", "s123")
	w.page.Wait("#services", "fleet:s123.rpc", "ready", "1 of 1")
	w.page.Fill("#find-catalog", "s299")
	w.page.Wait("#catalog", "s299.rpc", "serving")
	w.page.Fill("#find-route", "s150")
	w.page.Wait("#routes", "s150.v1.Thing/Get")
}

// manyInstances loads a service with 3,000 instances, all of them one process. Two cannot be
// connected.
func (w *world) manyInstances(t *testing.T) {
	const instances = 3000
	_, port, _ := strings.Cut(kit.FreeAddr(t), ":")
	testkit.StartBackend(t, testkit.WithAddress("0.0.0.0:"+port))
	var addrs []string
	for i := range instances - 2 {
		addrs = append(addrs, fmt.Sprintf("127.1.%d.%d:%s", i/250, i%250+1, port))
	}
	dead := []string{kit.FreeAddr(t), kit.FreeAddr(t)}
	big := "grpc_gateway {\n upstream big {\n discover static " + strings.Join(append(addrs, dead...), " ") + "\n }\n }"
	if err := w.caddy.Reload(kit.Options{Site: strings.Replace(site, "shop user", "big", 1), Global: big}); err != nil {
		t.Fatal(err)
	}
	w.page.Wait("#services", "big", "2,998 of 3,000")
	w.sees(t, "3000-instances", "1 of 1 service needs a look", "degraded", "big", "2 of 3,000 instances cannot be called", "connection refused")
	w.page.Click(`#services button`)
	text := w.page.Wait("#instances", dead[0], dead[1], "TRANSIENT_FAILURE", "127.1.0.100:"+port, "READY")
	if first := strings.Index(text, "READY"); first < strings.LastIndex(text, "TRANSIENT_FAILURE") {
		t.Error("the instances that need a look are not the first ones")
	}
	w.page.Wait("#instances-more", "2,900 more instances. Narrow the search to see them.")
	w.page.Fill("#find-instance", "127.1.11.200:")
	w.page.Wait("#instances", "127.1.11.200:"+port)
	w.page.Shoot("3000-instances-open")
}
