// Days of links that ask something are those of this browser, where the link does not say whose.

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

for (const link of document.querySelectorAll("a[data-zone]")) {
  const address = new URL(link.href);
  if (address.search && !address.searchParams.has("tz")) {
    address.searchParams.set("tz", zone);
    link.href = address.href;
  }
}
