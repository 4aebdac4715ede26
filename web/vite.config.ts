import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

// The built page is in the tree: the same source always makes the same bytes.
export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2023',
    sourcemap: false,
    modulePreload: { polyfill: false },
    // A data: address in a style sheet would need an exception in the policy of the page.
    assetsInlineLimit: 0,
  },
  // The portal of a cluster answers while the page is developed: PAI_PORTAL=https://HOST:PORT
  server: process.env.PAI_PORTAL
    ? { proxy: { '/api': { target: process.env.PAI_PORTAL, changeOrigin: true, secure: false } } }
    : {},
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
})
