// Bundles the page as Mailpit's own esbuild.config.mjs does, without the API's documentation, of which the registry lacks a package.
import * as esbuild from "esbuild";
import pluginVue from "esbuild-plugin-vue-next";
import { sassPlugin } from "esbuild-sass-plugin";

await esbuild.build({
    entryPoints: ["server/ui-src/app.js"],
    outdir: "server/ui/dist/",
    bundle: true,
    minify: true,
    define: { __VUE_OPTIONS_API__: "true", __VUE_PROD_DEVTOOLS__: "false", __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false" },
    plugins: [pluginVue(), sassPlugin({ silenceDeprecations: ["import"], quietDeps: true })],
    loader: { ".svg": "file", ".woff": "file", ".woff2": "file" },
    logLevel: "error",
});
