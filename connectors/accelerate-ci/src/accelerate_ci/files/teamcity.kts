// Made by: @command@
// Runs the benchmarks, and fails where they are slower than on @branch@.
// Before there were 3 runs there, nothing is called slower.
// For the database of @branch@: an access token of a user with the role "Project viewer" as the
// parameter env.TEAMCITY_TOKEN. For comments: env.GITHUB_TOKEN.
import jetbrains.buildServer.configs.kotlin.*
import jetbrains.buildServer.configs.kotlin.buildSteps.script
import jetbrains.buildServer.configs.kotlin.triggers.vcs

version = "2024.03"

project {
    buildType(Benchmarks)
}

object Benchmarks : BuildType({
    name = "Benchmarks"

    artifactRules = """
        @artifacts@
    """.trimIndent()

    vcs {
        root(DslContext.settingsRoot)
    }

    steps {
        script {
            name = "Install"
            scriptContent = """
                set -e
                @install@
            """.trimIndent()
        }
        script {
            name = "Run"
            scriptContent = """
                set -e
                @run@
            """.trimIndent()
        }
        script {
            name = "Compare with @branch@"
            scriptContent = """
                set -e
                @gate@
            """.trimIndent()
        }
    }

    triggers {
        vcs {
        }
    }

    failureConditions {
        executionTimeoutMin = 60
    }
})
