// The key of the link that `make run` prints stands behind `#`: it is taken out of the address first, then posted.
const key = new URLSearchParams(location.hash.slice(1)).get("key");
if (key) {
  history.replaceState(null, "", location.pathname + location.search);
  const form = document.getElementById("sign-in");
  form.elements.key.value = key;
  form.requestSubmit();
}
