"""The browser SDKs as a web page has them. `PAGES`: by name, the script that the page loads, and what it does then: given
an address, a key, and a tag for ids and events."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Two people log in on one device, and nobody resets.
_SEGMENT = """async ([host, key, tag]) => {
  const sdk = window.AnalyticsNext.AnalyticsBrowser.load({ writeKey: key, cdnURL: host });
  await sdk.track("seen", { n: 1, text: "ü😀", tag });
  await sdk.identify(tag + "_ada", { plan: "pro" });
  await sdk.track("bought", { n: 2, tag });
  await sdk.identify(tag + "_bob", { plan: "free" });
  await sdk.track("left", { n: 3, tag });
}"""
_RUDDER = """async ([host, key, tag]) => {
  const sdk = new window.rudderanalytics.RudderAnalytics();
  sdk.load(key, host, { configUrl: host });
  sdk.track("seen", { n: 1, text: "ü😀", tag });
  sdk.identify(tag + "_ada", { plan: "pro" });
  sdk.track("bought", { n: 2, tag });
  sdk.identify(tag + "_bob", { plan: "free" });
  sdk.track("left", { n: 3, tag });
}"""
_POSTHOG = """async ([host, key, tag]) => {
  const sdk = (await import("/posthog-js/dist/module.full.no-external.js")).default;
  sdk.init(key, { api_host: host, autocapture: false, capture_pageview: false, opt_out_useragent_filter: true });
  sdk.capture("seen", { n: 1, text: "ü😀", tag });
  sdk.identify(tag + "_ada", { plan: "pro" });
  sdk.capture("bought", { n: 2, tag });
  sdk.identify(tag + "_bob", { plan: "free" });
  sdk.capture("left", { n: 3, tag });
}"""
_MIXPANEL = """async ([host, key, tag]) => {
  const sdk = (await import("/mixpanel-browser/dist/mixpanel.module.js")).default;
  sdk.init(key, { api_host: host, batch_flush_interval_ms: 300 });
  sdk.track("seen", { n: 1, text: "ü😀", tag });
  sdk.identify(tag + "_ada");
  sdk.people.set({ plan: "pro" });
  sdk.track("bought", { n: 2, tag });
  sdk.identify(tag + "_bob");
  sdk.people.set({ plan: "free" });
  sdk.track("left", { n: 3, tag });
}"""
_AMPLITUDE = """async ([host, key, tag]) => {
  const sdk = window.amplitude;
  const options = { serverUrl: host + "/2/httpapi", autocapture: false, fetchRemoteConfig: false };
  await sdk.init(key, { ...options, flushIntervalMillis: 200 }).promise;
  const identify = async (user, plan) => {
    sdk.setUserId(tag + user);
    await sdk.identify(new sdk.Identify().set("plan", plan)).promise;
  };
  await sdk.track("seen", { n: 1, text: "ü😀", tag }).promise;
  await identify("_ada", "pro");
  await sdk.track("bought", { n: 2, tag }).promise;
  await identify("_bob", "free");
  await sdk.track("left", { n: 3, tag }).promise;
}"""
_AMPLITUDE_JS = """async ([host, key, tag]) => {
  const sdk = window.amplitude.getInstance();
  const options = { apiEndpoint: host.split("//")[1] + "/2/httpapi", forceHttps: false };
  await new Promise((done) => sdk.init(key, null, options, done));
  const identify = (user, plan) => {
    sdk.setUserId(tag + user);
    sdk.identify(new window.amplitude.Identify().set("plan", plan));
  };
  sdk.logEvent("seen", { n: 1, text: "ü😀", tag });
  identify("_ada", "pro");
  sdk.logEvent("bought", { n: 2, tag });
  identify("_bob", "free");
  sdk.logEvent("left", { n: 3, tag });
}"""
PAGES: dict[str, tuple[str, str]] = {
    "@segment/analytics-next": ("dist/umd/index.js", _SEGMENT),
    "@rudderstack/analytics-js": ("dist/npm/modern/bundled/umd/index.js", _RUDDER),
    "posthog-js": ("", _POSTHOG),
    "mixpanel-browser": ("", _MIXPANEL),
    "@amplitude/analytics-browser": ("lib/scripts/amplitude-min.js", _AMPLITUDE),
    "amplitude-js": ("amplitude.js", _AMPLITUDE_JS),
}


@contextmanager
def pages(modules: Path) -> Iterator[str]:
    """An address of another origin than any pipeline's: an empty page, and the files of the SDKs."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                super().do_GET()
                return
            page = b'<!doctype html><title>shop</title><link rel="icon" href="data:,">'
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(modules)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
