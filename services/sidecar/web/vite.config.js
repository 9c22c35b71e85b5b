import { defineConfig } from "vite";

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: true },
  // `npm run dev` shows the page of a sidecar that runs here.
  server: { proxy: { "/api": process.env.HELIX_SIDECAR_URL ?? "http://127.0.0.1:4190" } },
});
