// Looks again while the deletion runs.
const EVERY_MS = 3000;
if (document.getElementById("running")) {
  document.querySelector("#running .no-script")?.remove();
  setTimeout(() => location.reload(), EVERY_MS);
}
