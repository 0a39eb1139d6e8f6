// SPDX-License-Identifier: Apache-2.0
import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

// Paths are relative to hardware_backends/, where `npm run lint` starts: the engines of the other
// distributions are linted with this one.
export default defineConfig(globalIgnores(["**/generated/", "**/node_modules/"]), js.configs.recommended, {
  files: ["**/*.ts"],
  extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
  languageOptions: {
    parserOptions: {
      project: ["./tsconfig.json", "./src/control/tsconfig.json", "./tests/tsconfig.json"],
      tsconfigRootDir: import.meta.dirname,
    },
  },
  rules: {
    "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
    // The tsconfig asks for the brackets that this rule forbids.
    "@typescript-eslint/dot-notation": ["error", { allowIndexSignaturePropertyAccess: true }],
  },
});
